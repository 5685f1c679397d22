/** Durations as people write them: `500ms 30s 5m 2h 3d`. */
import {ByError} from '../errors.js';

const UNITS = {ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000} as const;
const PATTERN = /^(\d{1,12}(?:\.\d{1,6})?)(ms|s|m|h|d)$/;

/**
 * @returns Milliseconds.
 * @throws {ByError} INVALID_INPUT for anything else, also a number without a unit: `30` could mean either.
 */
export function parseDuration(text: string): number {
  if (text === '0') return 0;
  const [, amount, unit] = PATTERN.exec(text) ?? [];
  if (amount === undefined || unit === undefined) {
    throw new ByError('INVALID_INPUT', `"${text}" is not a duration.`, {
      hint: 'Write a number and a unit: 500ms, 30s, 5m, 2h or 3d.',
    });
  }
  return Math.round(Number(amount) * UNITS[unit as keyof typeof UNITS]);
}

/** @returns Two units at most: `412ms`, `1.3s`, `2m10s`, `5h3m`, `3d4h`. */
export function formatDuration(ms: number): string {
  const value = Math.max(0, Math.round(ms));
  if (value < 1000) return `${value}ms`;
  if (value < 10_000) return `${(Math.floor(value / 100) / 10).toString()}s`;
  const seconds = Math.floor(value / 1000);
  if (seconds < 60) return `${seconds}s`;
  if (seconds < 3600) return pair(Math.floor(seconds / 60), 'm', seconds % 60, 's');
  if (seconds < 86_400) return pair(Math.floor(seconds / 3600), 'h', Math.floor((seconds % 3600) / 60), 'm');
  return pair(Math.floor(seconds / 86_400), 'd', Math.floor((seconds % 86_400) / 3600), 'h');
}

const pair = (big: number, bigUnit: string, small: number, smallUnit: string) =>
  small === 0 ? `${big}${bigUnit}` : `${big}${bigUnit}${small}${smallUnit}`;
