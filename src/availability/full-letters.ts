/** What everybody does who finds the dead letters full: keep the work where it is, say so aloud, try again. */
import type {Logger} from '../log.js';
import type {Store} from '../store/store.js';

/** When work that found no room among the dead letters tries again, in milliseconds. */
export const FULL_RETRY_MS = 5000;
/** Each held entry finds out anew; one line in this time is enough for all of them, in milliseconds. */
const SAY_EVERY_MS = 10_000;

const said = new WeakMap<Store, number>();

export function alarmFull(store: Store, log: Logger): void {
  const now = performance.now();
  if (now - (said.get(store) ?? -Infinity) < SAY_EVERY_MS) return;
  said.set(store, now);
  log.error('the dead letters are full: what fails stays pending until some are replayed or dropped', {
    limit: store.limits.deadLetters,
  });
}
