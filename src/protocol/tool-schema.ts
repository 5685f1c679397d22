/** How a tool says what it takes: a schema of zod, or of any library that follows Standard Schema (`~standard`). */
import {z} from 'zod';
import {ByError, messageOf} from '../errors.js';
import {isObject} from './limits.js';

export type JsonSchema = Readonly<Record<string, unknown>>;

/** The part of Standard Schema (https://standardschema.dev) that is used: it is what every copy of zod has. */
export interface InputSchema<Input = unknown> {
  readonly '~standard': {
    readonly version: 1;
    readonly vendor: string;
    readonly validate: (value: unknown) => Validated<Input> | Promise<Validated<Input>>;
    readonly types?: {readonly input: unknown; readonly output: Input} | undefined;
  };
}

export type Validated<Input> =
  {readonly value: Input; readonly issues?: undefined} | {readonly issues: readonly Issue[]};

interface Issue {
  readonly message: string;
  readonly path?: readonly (PropertyKey | {readonly key: PropertyKey})[] | undefined;
}

/** Recognised by shape: the user's project may hold its own copy of the library. */
export function isInputSchema(value: unknown): value is InputSchema {
  if ((typeof value !== 'object' && typeof value !== 'function') || value === null) return false;
  const standard = (value as {'~standard'?: {validate?: unknown} | null})['~standard'];
  return typeof standard === 'object' && standard !== null && typeof standard.validate === 'function';
}

/** What a tool without a schema takes. */
export const NO_INPUT: JsonSchema = {type: 'object', properties: {}, additionalProperties: false};

/**
 * The JSON Schema a model is shown. zod's schemas are translated; of other libraries it has to be given.
 * @throws {TypeError} saying why there is none.
 */
export function jsonSchemaOf(schema: InputSchema): JsonSchema {
  if (schema['~standard'].vendor !== 'zod' || !('_zod' in schema)) {
    throw new TypeError('it is no schema of zod 4, and no inputJsonSchema is given beside it');
  }
  // What the model has to send is what goes in, before defaults and transforms.
  const translated: unknown = z.toJSONSchema(schema as unknown as z.ZodType, {io: 'input'});
  if (!isObject(translated)) throw new TypeError('it has no JSON Schema');
  const {$schema: _draft, '~standard': _standard, ...json} = translated;
  return json;
}

/** @throws {ByError} INVALID_INPUT, naming the tool, and for each problem its place. */
export async function checkedInput<Input>(
  tool: string,
  schema: InputSchema<Input>,
  input: unknown,
): Promise<Input> {
  let result: Validated<Input>;
  try {
    result = await schema['~standard'].validate(input);
  } catch (cause) {
    throw refused(tool, messageOf(cause), cause);
  }
  if (result.issues === undefined) return result.value;
  throw refused(tool, result.issues.map(issueText).join('; '));
}

const refused = (tool: string, what: string, cause?: unknown) =>
  new ByError('INVALID_INPUT', `The tool "${tool}" was called with input it does not take: ${what}`, {
    hint: `Give it what the schema of "${tool}" asks for.`,
    cause,
  });

function issueText({path = [], message}: Issue): string {
  const place = path.map(part => String(typeof part === 'object' ? part.key : part)).join('.');
  return place === '' ? message : `${place}: ${message}`;
}
