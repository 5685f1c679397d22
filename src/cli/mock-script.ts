/** The script of the mock provider: `[TYPE=]MODE [DELAY]`, one line for each wakeup. */
import {readFile} from 'node:fs/promises';
import {parseMockMode, type MockMode, type MockStep} from '../availability/mock-provider.js';
import {ByError, messageOf} from '../errors.js';
import {isValidId} from '../ids.js';
import {parseDuration} from './duration.js';

const PREFIX = 'script:';
const MAX_BYTES = 1_048_576;

/**
 * A mode as it is written in a flag, `script:FILE` included.
 * @throws {ByError} USAGE, naming the modes, or file and line.
 */
export async function readMockMode(text: string): Promise<MockMode> {
  if (!text.startsWith(PREFIX)) return parseMockMode(text);
  const file = text.slice(PREFIX.length);
  return {kind: 'script', steps: parseMockScript(await scriptIn(file), file)};
}

async function scriptIn(file: string): Promise<string> {
  try {
    const content = await readFile(file, 'utf8');
    if (content.length > MAX_BYTES) throw new Error(`it is larger than ${MAX_BYTES} bytes`);
    return content;
  } catch (cause) {
    throw new ByError('USAGE', `The script ${file} can not be read: ${messageOf(cause)}`, {
      hint: 'Name another file: --mode script:FILE.',
      cause,
    });
  }
}

/** @throws {ByError} USAGE, naming file and line. */
export function parseMockScript(content: string, file: string): MockStep[] {
  const steps = content.split('\n').flatMap((line, index) => {
    const [what = '', delay, ...more] = line.replace(/#.*$/, '').trim().split(/\s+/);
    if (what === '') return [];
    try {
      if (more.length > 0) throw new Error(`"${more.join(' ')}" is too much`);
      return [stepOf(what, delay)];
    } catch (cause) {
      throw new ByError('USAGE', `${file}, line ${index + 1}: ${messageOf(cause)}`, {
        hint: 'Write [TYPE=]MODE [DELAY], for example: ready, or ocr=fail 200ms.',
        cause,
      });
    }
  });
  if (steps.length > 0) return steps;
  throw new ByError('USAGE', `The script ${file} has no step.`, {
    hint: 'Write one mode on each line: ready, fail, reject, …',
  });
}

function stepOf(what: string, delay: string | undefined): MockStep {
  const at = what.indexOf('=');
  const agentType = at === -1 ? undefined : what.slice(0, at);
  if (agentType !== undefined && !isValidId(agentType)) throw new Error(`"${agentType}" is no agent type`);
  return {
    mode: parseMockMode(what.slice(at + 1)),
    ...(agentType === undefined ? {} : {agentType}),
    ...(delay === undefined ? {} : {delayMs: parseDuration(delay)}),
  };
}
