/** Records of the run layer: camelCase in TypeScript, snake_case in Redis and in `--json`, by one codec each. */
import {z} from 'zod';
import {ByError} from '../../errors.js';
import {snakeCase} from '../../snake-case.js';

type WireDocument = z.ZodRecord<z.ZodString, z.ZodUnknown>;

/** A record's codec. What a newer program added to it is kept as it came. */
export function record<S extends z.core.$ZodLooseShape>(shape: S): z.ZodCodec<WireDocument, z.ZodObject<S>> {
  const names = Object.keys(shape).map(field => [field, snakeCase(field)] as const);
  const fieldOf = new Map(names.map(([field, name]) => [name, field]));
  const nameOf = new Map(names);
  const renamed = (doc: Readonly<Record<string, unknown>>, as: ReadonlyMap<string, string>) =>
    Object.fromEntries(Object.entries(doc).map(([key, value]) => [as.get(key) ?? key, value]));
  return z.codec(z.record(z.string(), z.unknown()), z.looseObject(shape), {
    decode: doc => renamed(doc, fieldOf) as never,
    encode: value => renamed(value as Record<string, unknown>, nameOf),
  });
}

/** @returns undefined for text that is no such record: a reader passes over it. */
export function readRecord<T>(codec: z.ZodType<T>, text: string | undefined): T | undefined {
  if (text === undefined || text === '') return undefined;
  try {
    return codec.safeDecode(JSON.parse(text) as never).data;
  } catch {
    // Not even JSON: the same to whoever reads it.
    return undefined;
  }
}

/** The document for Redis. */
export const writeRecord = <T>(codec: z.ZodType<T>, value: T): string => JSON.stringify(codec.encode(value));

/** The document for `--json`: the very one that is kept. */
export const recordDocument = <T>(codec: z.ZodType<T>, value: T): Record<string, unknown> =>
  codec.encode(value) as Record<string, unknown>;

/** What somebody gives us: every field must be known, and fit. @throws {ByError} INVALID_INPUT, or the given code. */
export function checkInput<T>(
  schema: z.ZodType<T>,
  value: unknown,
  code: 'INVALID_INPUT' | 'POLICY_INVALID' | 'QUEUE_MODE_INVALID' = 'INVALID_INPUT',
): T {
  const result = schema.safeParse(value);
  if (result.success) return result.data;
  const [issue] = result.error.issues;
  const path = issue?.path.join('.') ?? '';
  throw new ByError(code, `${path === '' ? 'This' : `"${path}"`} can not be used: ${issue?.message ?? ''}`, {
    hint: path === '' ? 'Leave out what is not known.' : `Correct "${path}".`,
    details: {issues: result.error.issues.map(({path: at, message}) => ({path: at.join('.'), message}))},
  });
}

/** Text of 1 to `most` characters. */
export const str = (most: number) => z.string().trim().min(1).max(most);
/** Unix milliseconds by Redis's clock. */
export const at = () => z.number().int().nonnegative();
export const count = () => z.number().int().nonnegative();
/** Somebody else's object, passed on as it is. */
export const anyObject = () => z.record(z.string(), z.unknown());
