/** From what a command returns (camelCase) to what `--json` prints (snake_case). */
import {snakeCase} from '../snake-case.js';

/** User data in a result: printed as it is, its keys untouched. */
export class Opaque<T = unknown> {
  constructor(readonly value: T) {}
}

/** Marks a part of a result as somebody's own data (a payload, metadata, a map by id), whose keys are not ours. */
export const opaque = <T>(value: T): Opaque<T> => new Opaque(value);

/**
 * Renames the keys of plain objects at every depth. Not renamed: what {@link opaque} marks, and the keys of a `Map`
 * (they are data). Dates become ISO strings, big integers strings, bytes base64, sets arrays.
 */
export function toSnakeCase(value: unknown): unknown {
  if (typeof value === 'bigint') return value.toString();
  if (typeof value !== 'object' || value === null) return value;
  if (value instanceof Opaque) return value.value;
  if (value instanceof Date) return value.toISOString();
  if (value instanceof Uint8Array) return Buffer.from(value).toString('base64');
  if (value instanceof Error) return {name: value.name, message: value.message};
  if (Array.isArray(value)) return value.map(toSnakeCase);
  if (value instanceof Set) return Array.from(value, toSnakeCase);
  if (value instanceof Map) return rebuild(value.entries(), String);
  return rebuild(Object.entries(value), snakeCase);
}

function rebuild(entries: Iterable<[unknown, unknown]>, rename: (key: string) => string): object {
  const result: Record<string, unknown> = {};
  for (const [key, one] of entries) {
    // defineProperty, because an assignment to the key `__proto__` would change the object instead.
    Object.defineProperty(result, rename(String(key)), {
      value: toSnakeCase(one),
      enumerable: true,
      configurable: true,
      writable: true,
    });
  }
  return result;
}
