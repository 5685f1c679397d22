/**
 * Tolerant reading of one field of a document another SDK wrote: spec §0 ("unknown keys are ignored") and the
 * ACCEPT rules. Used by the hand-written decoders of the hot paths; `wire.ts` builds schemas from the same rules.
 */
import {isObject} from './limits.js';

export type Doc = Readonly<Record<string, unknown>>;

/** Text, or what a number or a boolean is as text. Null, absent and everything else is ''. */
export function textOf(value: unknown): string {
  if (typeof value === 'string') return value;
  return typeof value === 'number' || typeof value === 'boolean' ? String(value) : '';
}

/** A whole number; strings of digits count (spec §7.3). */
export function integerOf(value: unknown, fallback: number): number {
  if (typeof value === 'number') return Number.isFinite(value) ? Math.trunc(value) : fallback;
  if (typeof value !== 'string' || !/^\s*[+-]?\d+(\.\d+)?\s*$/.test(value)) return fallback;
  return Math.trunc(Number(value));
}

/** True for `true`, non-zero numbers and texts that mean yes. The text "false" is false (C4). */
export function flagOf(value: unknown): boolean {
  if (typeof value === 'string') return !/^\s*(false|0|no|off)?\s*$/i.test(value);
  if (typeof value === 'number') return value !== 0;
  return value === true || (typeof value === 'object' && value !== null);
}

/** The JSON object, or an empty one for null, absent and everything else (C6). */
export function objectOf(value: unknown): Record<string, unknown> {
  return isObject(value) ? value : {};
}

export function textListOf(value: unknown): string[] {
  return Array.isArray(value) ? (value as unknown[]).map(textOf).filter(text => text !== '') : [];
}
