/** Looks of which nobody waits for the next: roles that tidy up, beside others of their kind. */
import {sleep} from '../clock.js';
import {messageOf} from '../errors.js';

/**
 * Look again and again until the signal aborts, spread out, so that replicas that started together do not ask together.
 * @param everyMs milliseconds between looks, more or less.
 * @param failed told why a look failed; the next one is made all the same.
 */
export async function nowAndThen(
  everyMs: number,
  signal: AbortSignal,
  look: () => Promise<void>,
  failed: (why: string) => void,
): Promise<void> {
  while (!signal.aborted) {
    try {
      await look();
    } catch (error) {
      failed(messageOf(error));
    }
    await sleep(everyMs * (0.8 + 0.4 * Math.random()), signal);
  }
}
