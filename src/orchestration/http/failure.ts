/** From anything thrown to an answer over HTTP: its status, and what may be said of it. */
import {ByError, type ErrorCode} from '../../errors.js';
import {snakeCase} from '../../snake-case.js';

/** What HTTP itself refuses, with a status of its own. */
export class HttpRefusal extends Error {
  constructor(
    readonly status: number,
    readonly error: ByError,
    readonly headers: Readonly<Record<string, string>> = {},
  ) {
    super(error.message);
  }
}

export const refusal = (
  status: number,
  code: ErrorCode,
  message: string,
  hint: string,
  headers?: Readonly<Record<string, string>>,
): HttpRefusal => new HttpRefusal(status, new ByError(code, message, {hint}), headers);

/** Codes come in families, which end a command alike: what a family is over HTTP. What is not named is a 500. */
const FAMILIES: Readonly<Record<number, number>> = {
  ...{2: 400, 3: 503, 4: 404, 5: 503, 8: 504, 11: 409, 13: 403},
};
const STATUSES: Partial<Record<ErrorCode, number>> = {MESSAGE_TOO_LARGE: 413, TENANT_QUOTA_EXCEEDED: 429};

const CONNECTION = 3;
const RETRY_AFTER_S = 5;

export const statusOf = ({code, exitCode}: ByError): number => STATUSES[code] ?? FAMILIES[exitCode] ?? 500;

export interface Failure {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: {readonly error: Readonly<Record<string, unknown>>};
}

export function failureOf(thrown: unknown): Failure {
  if (thrown instanceof HttpRefusal) return {...failed(thrown.status, thrown.error), headers: thrown.headers};
  if (!(thrown instanceof ByError)) return failed(500, INTERNAL);
  const status = statusOf(thrown);
  if (status === 500) return failed(status, INTERNAL);
  // What Redis or the network says of itself is for who runs the server: the log has it.
  const shown =
    thrown.exitCode === CONNECTION
      ? new ByError(thrown.code, 'The store of this server can not be used now.', {hint: 'Try again later.'})
      : thrown;
  return failed(status, shown);
}

const INTERNAL = new ByError('INTERNAL', 'Something went wrong here.', {
  hint: 'The log of the server says what.',
});

const failed = (status: number, {code, message, hint, details}: ByError): Failure => ({
  status,
  headers: status === 503 || status === 429 ? {'retry-after': String(RETRY_AFTER_S)} : {},
  body: {error: {code, message, hint, details: inSnakeCase(details)}},
});

function inSnakeCase(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(inSnakeCase);
  if (typeof value !== 'object' || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [snakeCase(key), inSnakeCase(one)]));
}
