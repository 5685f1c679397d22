/** Points in time: read from flags, shown in tables. */
import {ByError} from '../errors.js';
import {formatDuration, parseDuration} from './duration.js';

/** Where to start or stop: a moment, or the exact place in a stream. */
export type TimePoint =
  {readonly kind: 'time'; readonly ms: number} | {readonly kind: 'id'; readonly id: string};

const STREAM_ID = /^\d{1,20}-\d{1,20}$/;
const EPOCH_MS = /^\d{12,14}$/;

/**
 * Reads a duration ago (`10m`), ISO 8601, epoch milliseconds, or a stream id (`1716123456789-0`).
 * @throws {ByError} INVALID_INPUT for anything else.
 */
export function parseTimePoint(text: string, nowMs: number): TimePoint {
  if (STREAM_ID.test(text)) return {kind: 'id', id: text};
  if (EPOCH_MS.test(text)) return {kind: 'time', ms: Number(text)};
  if (/^\d{4}-\d\d-\d\d/.test(text)) {
    const ms = Date.parse(text);
    if (!Number.isNaN(ms)) return {kind: 'time', ms};
  }
  try {
    return {kind: 'time', ms: Math.floor(nowMs) - parseDuration(text)};
  } catch (cause) {
    throw new ByError('INVALID_INPUT', `"${text}" is not a point in time.`, {
      hint: 'Write a duration ago (10m), an ISO date (2026-05-01T10:00:00Z), epoch milliseconds or a stream id.',
      cause,
    });
  }
}

/** `3s ago`, `in 5m`, `now`: the largest unit that fits. */
export function relativeTime(ms: number, nowMs: number): string {
  const age = nowMs - ms;
  if (Math.abs(age) < 1000) return 'now';
  const amount = /^\d+[a-z]+/.exec(formatDuration(Math.floor(Math.abs(age) / 1000) * 1000))?.[0] ?? '';
  return age > 0 ? `${amount} ago` : `in ${amount}`;
}

/** ISO 8601, or the bare number where it is no moment a Date can hold: many times are another program's. */
export const isoTime = (ms: number): string =>
  Math.abs(ms) <= 8.64e15 ? new Date(ms).toISOString() : String(ms);

/** `14:02:11.103`, in the local time zone. */
export function clockTime(ms: number): string {
  const date = new Date(ms);
  const two = (value: number) => String(value).padStart(2, '0');
  const millis = String(date.getMilliseconds()).padStart(3, '0');
  return `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}.${millis}`;
}
