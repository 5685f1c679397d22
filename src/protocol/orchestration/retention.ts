/** How long what the run layer keeps is kept. */

const DAY_S = 86_400;

/** Records of tasks, runs and attempts, after their end. */
export const RECORD_TTL_S = 30 * DAY_S;
/** Events and logs, after the end; the longest an idempotency key is remembered. */
export const HISTORY_TTL_S = 7 * DAY_S;
export const IDEMPOTENCY_TTL_S = DAY_S;
/** Of a pool nothing was sent for. */
export const POOL_TTL_S = 7 * DAY_S;
/** Lists show what was accepted in this time. */
export const INDEX_TTL_S = 60 * DAY_S;

export const EVENT_CAP = 10_000;
export const LOG_CAP = 50_000;
export const SNAPSHOT_CAP = 500;
export const UNDELIVERABLE_CAP = 10_000;
/** Of what is said to a running attempt. */
export const STEERING_TTL_S = DAY_S;
/** Of what a worker says it can do; renewed while it runs. */
export const ABILITIES_TTL_S = 120;
