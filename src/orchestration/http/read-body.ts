/** The body of a request: one JSON object, or nothing, which is an empty one. */
import type {IncomingMessage} from 'node:http';
import {refusal} from './failure.js';

const MAX_BYTES = 1_048_576;
/** So much is taken and thrown away, so that a client that is still writing gets to read the answer. */
const MAX_DISCARDED = 16 * MAX_BYTES;

/** @throws {HttpRefusal} 400, 413, 415. */
export async function readBody(request: IncomingMessage): Promise<unknown> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes <= MAX_BYTES) chunks.push(chunk);
    else if (bytes > MAX_DISCARDED) break;
  }
  if (bytes > MAX_BYTES)
    throw refusal(413, 'MESSAGE_TOO_LARGE', 'A request may have 1 MiB.', 'Send a reference in its place.', {
      connection: 'close',
    });
  if (bytes === 0) return {};
  // Pages of other origins may send any other type without asking first.
  if (!/^application\/json\s*(?:;|$)/i.test(request.headers['content-type'] ?? ''))
    throw refusal(
      415,
      'INVALID_INPUT',
      'The body is not said to be JSON.',
      'Send Content-Type: application/json.',
    );
  try {
    return JSON.parse(new TextDecoder('utf-8', {fatal: true}).decode(Buffer.concat(chunks))) as unknown;
  } catch {
    // What the parser says names pieces of the body, and where; the status says enough.
    throw refusal(400, 'INVALID_INPUT', 'The body is no JSON.', 'Send one JSON object in UTF-8.');
  }
}
