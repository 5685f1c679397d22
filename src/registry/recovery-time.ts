/** When a provider's quota is there again, read from the headers of its refusal. */
import {MAX_RECOVERY_MS, MIN_RECOVERY_MS} from './agent-status.js';

/** `Headers`, or an object of header names in any case. */
export type HeaderLike =
  | {get(name: string): string | null | undefined}
  | Readonly<Record<string, string | number | readonly string[] | null | undefined>>;

export interface Recovery {
  /** Unix milliseconds. */
  readonly recoveryAt: number;
  /** The header that said so. */
  readonly source: string;
  /** It said less than a second or more than seven days, and was not believed so far. */
  readonly clamped: boolean;
}

/** Of each, which header tells how much is left and which when it is there again. */
const RESETS: readonly (readonly [remaining: string, reset: string])[] = [
  ['anthropic-ratelimit-requests-remaining', 'anthropic-ratelimit-requests-reset'],
  ['anthropic-ratelimit-tokens-remaining', 'anthropic-ratelimit-tokens-reset'],
  ['anthropic-ratelimit-input-tokens-remaining', 'anthropic-ratelimit-input-tokens-reset'],
  ['anthropic-ratelimit-output-tokens-remaining', 'anthropic-ratelimit-output-tokens-reset'],
  ['x-ratelimit-remaining-requests', 'x-ratelimit-reset-requests'],
  ['x-ratelimit-remaining-tokens', 'x-ratelimit-reset-tokens'],
  ['x-ratelimit-remaining', 'x-ratelimit-reset'],
  ['ratelimit-remaining', 'ratelimit-reset'],
];

/**
 * Looks at `retry-after-ms`, at `Retry-After` in seconds or as a date, then at the reset headers of providers, as times
 * or durations. What can not be read, or lies in the past, is passed over.
 *
 * @param now Unix milliseconds, to which durations are added: Redis's, not the worker's.
 * @returns null if no header says anything.
 */
export function parseRecoveryAt(headers: HeaderLike, now: number): Recovery | null {
  const read = reader(headers);
  const waitMs = numberOf(read('retry-after-ms'));
  if (waitMs !== null) return believed(now + waitMs, 'retry-after-ms', now);
  const retryAfter = read('retry-after');
  const seconds = numberOf(retryAfter);
  const retryAt = seconds === null ? httpDateOf(retryAfter) : now + seconds * 1000;
  if (retryAt !== null && retryAt >= now) return believed(retryAt, 'retry-after', now);
  return fromResets(read, now);
}

/** Of what is used up the latest; where nothing says what is, of all. */
function fromResets(read: (name: string) => string, now: number): Recovery | null {
  const resets = RESETS.flatMap(([remaining, reset]) => {
    const at = resetOf(read(reset), now);
    return at === null || at < now ? [] : [{reset, at, isUsedUp: numberOf(read(remaining)) === 0}];
  });
  const usedUp = resets.filter(({isUsedUp}) => isUsedUp);
  const [last] = (usedUp.length > 0 ? usedUp : resets).sort((a, b) => b.at - a.at);
  return last === undefined ? null : believed(last.at, last.reset, now);
}

function believed(at: number, source: string, now: number): Recovery {
  const recoveryAt = Math.ceil(Math.min(Math.max(at, now + MIN_RECOVERY_MS), now + MAX_RECOVERY_MS));
  return {recoveryAt, source, clamped: recoveryAt !== Math.ceil(at)};
}

function reader(headers: HeaderLike): (name: string) => string {
  const like = headers as {get?: unknown};
  if (typeof like.get === 'function') {
    const fetched = headers as {get(name: string): string | null | undefined};
    return name => (fetched.get(name) ?? '').trim();
  }
  const known = new Map(
    Object.entries(headers as Readonly<Record<string, unknown>>).map(([name, value]) => [
      name.toLowerCase(),
      String((Array.isArray(value) ? value[0] : value) ?? '').trim(),
    ]),
  );
  return name => known.get(name) ?? '';
}

/** Not negative. */
const numberOf = (text: string): number | null => (/^\d+(\.\d+)?$/.test(text) ? Number(text) : null);

const HTTP_DATE = /^[A-Z][a-z]{2,8},? \d{1,2}[ -][A-Z][a-z]{2}[ -]\d{2,4} \d{2}:\d{2}:\d{2} GMT$/;
const RFC_3339 = /^\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}:\d{2}(\.\d+)?([Zz]|[+-]\d{2}:\d{2})$/;

function httpDateOf(text: string): number | null {
  return HTTP_DATE.test(text) ? timeOf(text) : null;
}

function timeOf(text: string): number | null {
  const at = Date.parse(text);
  return Number.isNaN(at) ? null : at;
}

/** A time, a duration such as `6m0s`, seconds from now, or seconds since 1970. */
function resetOf(text: string, now: number): number | null {
  if (RFC_3339.test(text)) return timeOf(text.replace(' ', 'T'));
  const number = numberOf(text);
  // A thousand million seconds are 31 years: no wait, but a time since 2001.
  if (number !== null) return number >= 1e9 ? number * 1000 : now + number * 1000;
  const duration = durationOf(text);
  return duration === null ? null : now + duration;
}

const UNITS: Readonly<Record<string, number>> = {
  ...{ns: 1e-6, us: 1e-3, µs: 1e-3, ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000},
};

/** As Go writes them: `1h2m3.5s`, `20ms`. @returns milliseconds. */
function durationOf(text: string): number | null {
  if (!/^(\d+(\.\d+)?(ns|us|µs|ms|s|m|h|d))+$/.test(text)) return null;
  const parts = text.matchAll(/(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h|d)/g);
  return [...parts].reduce((sum, [, count, unit = '']) => sum + Number(count) * (UNITS[unit] ?? 0), 0);
}
