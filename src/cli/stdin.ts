/** Standard input, read once and within bounds. */
import {ByError} from '../errors.js';

/** More than any message may have (guarantees.md §2, payloads: 1 MiB), so that the true limit is named by its owner. */
const LIMIT_BYTES = 16 * 1024 * 1024;

/**
 * @returns All of standard input as text.
 * @throws {ByError} USAGE if it is a terminal, INVALID_INPUT if it is not UTF-8 or longer than 16 MiB.
 */
export async function readAll(
  stdin: AsyncIterable<Buffer | string> & {readonly isTTY?: boolean},
  what: string,
): Promise<string> {
  if (stdin.isTTY === true) {
    throw new ByError('USAGE', `${what} is to come from standard input, which is a terminal.`, {
      hint: 'Pipe it in, for example: by … < file',
    });
  }
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of stdin) {
    const bytes = typeof chunk === 'string' ? Buffer.from(chunk) : chunk;
    size += bytes.length;
    if (size > LIMIT_BYTES) {
      throw new ByError('INVALID_INPUT', `${what} on standard input is longer than 16 MiB.`, {
        hint: 'Send less, or send a reference to it.',
      });
    }
    chunks.push(bytes);
  }
  try {
    return new TextDecoder('utf-8', {fatal: true}).decode(Buffer.concat(chunks));
  } catch (cause) {
    throw new ByError('INVALID_INPUT', `${what} on standard input is not UTF-8 text.`, {
      hint: 'Convert it first, for example with iconv.',
      cause,
    });
  }
}
