/** `by provider mock --ask`: a person decides every wakeup. */
import {MOCK_MODES, parseMockMode, type MockMode} from '../availability/mock-provider.js';
import {messageOf} from '../errors.js';
import type {WakeupRequest} from '../protocol/wakeup.js';
import {askText, PromptAborted} from './prompt.js';
import {describeRequest} from './wakeup-line.js';

/**
 * Asks about one wakeup after the other; who waits too long is not asked about.
 * @param initial what an empty answer means.
 * @param onLeave told when the person leaves with Ctrl-C or Escape.
 */
export function modeAsker(
  initial: string,
  onLeave: () => void,
): (request: WakeupRequest, signal: AbortSignal) => Promise<MockMode | undefined> {
  let last: Promise<unknown> = Promise.resolve();
  const ask = async (request: WakeupRequest, signal: AbortSignal): Promise<MockMode | undefined> => {
    if (signal.aborted) return undefined;
    try {
      const answer = await askText({
        question: `wakeup  ${describeRequest(request).trimEnd()}?`,
        initial,
        validate: problemOf,
        signal,
      });
      return parseMockMode(answer);
    } catch (error) {
      if (!(error instanceof PromptAborted)) throw error;
      if (!(signal.aborted as boolean)) onLeave();
      return undefined;
    }
  };
  return (request, signal) => {
    const mine = last.then(() => ask(request, signal));
    // The next question comes whatever has become of this one.
    last = mine.catch(() => undefined);
    return mine;
  };
}

function problemOf(answer: string): string | null {
  try {
    parseMockMode(answer);
    return null;
  } catch (error) {
    return `${messageOf(error)} Modes: ${MOCK_MODES}.`;
  }
}
