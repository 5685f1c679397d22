/**
 * The edge between our camelCase types and the snake_case documents in Redis, for messages that are not on a hot
 * path. Those that are (commands, events, records) are written out by hand.
 */
import {z} from 'zod';
import {snakeCase} from '../snake-case.js';
import {flagOf, integerOf, objectOf, textListOf, textOf} from './fields.js';

type WireDocument = z.ZodRecord<z.ZodString, z.ZodUnknown>;
type ObjectSchema = z.ZodObject | z.ZodDiscriminatedUnion<readonly z.ZodObject[]>;

/**
 * A schema in camelCase, as a codec from and to the wire. Only the top level is renamed: what is inside (a command, a
 * caller's metadata) is somebody else's document. Keys the schema does not know are dropped.
 */
export function wire<T extends ObjectSchema>(schema: T): z.ZodCodec<WireDocument, T> {
  const fields = fieldNames(schema);
  return z.codec(z.record(z.string(), z.unknown()), schema, {
    decode: doc => {
      const value: Record<string, unknown> = {};
      // Absent fields become undefined, so that defaults and tolerant readers see them.
      for (const [field, name] of fields) value[field] = Object.hasOwn(doc, name) ? doc[name] : undefined;
      return value as z.input<T>;
    },
    encode: value => {
      const doc: Record<string, unknown> = {};
      const given = value as Readonly<Record<string, unknown>>;
      for (const [field, name] of fields) if (given[field] !== undefined) doc[name] = given[field];
      return doc;
    },
  });
}

function fieldNames(schema: ObjectSchema): [field: string, name: string][] {
  const shapes = schema instanceof z.ZodObject ? [schema] : schema.options;
  const names = new Set(shapes.flatMap(option => Object.keys(option.shape)));
  return [...names].map(field => [field, snakeCase(field)]);
}

/** A field read with one of the tolerant readers of fields.ts, and written as it is. */
const tolerant = <T>(schema: z.ZodType<T, T>, read: (value: unknown) => T) =>
  z.codec(z.unknown(), schema, {decode: read, encode: value => value});

/** Text; null, absent and what is not text is ''. */
export const text = () => tolerant(z.string(), textOf);

/** As {@link text}, but '' reads as `fallback`. */
export const textOr = (fallback: string) => tolerant(z.string(), value => textOf(value) || fallback);

/** Text, or null when there is none. */
export const textOrNull = () => tolerant(z.string().nullable(), value => textOf(value) || null);

/** A whole number; strings of digits count. */
export const integer = (fallback = 0) => tolerant(z.number(), value => integerOf(value, fallback));

/** A whole number, or null. */
export const integerOrNull = () =>
  tolerant(z.number().nullable(), value =>
    value === undefined || value === null ? null : integerOf(value, 0),
  );

export const flag = () => tolerant(z.boolean(), flagOf);

/** A JSON object that is passed on as it is; anything else is {}. */
export const document = () => tolerant(z.record(z.string(), z.unknown()), objectOf);

export const textList = () => tolerant(z.array(z.string()), textListOf);

/** Any JSON; absent is null. */
export const anything = () => tolerant(z.unknown(), value => value ?? null);
