/** Numbers as Redis reads and prints them. */
import {CommandError, notAFloat, notAnInteger} from './reply.js';

/** A 64-bit integer: a number while it is exact, a bigint beyond. Equal values are `===`, and `<` works across both. */
export type Int64 = number | bigint;

const MAX_INT64 = 2n ** 63n - 1n;
const MIN_INT64 = -(2n ** 63n);
const MAX_UINT64 = 2n ** 64n - 1n;

/** The one form of a value, so that `===` compares. */
export function canonical(value: bigint): Int64 {
  return value >= Number.MIN_SAFE_INTEGER && value <= Number.MAX_SAFE_INTEGER ? Number(value) : value;
}

/** Parse a signed 64-bit integer as strictly as Redis does: no sign `+`, no spaces, no leading zeros. */
export function parseInt64(text: string): Int64 | undefined {
  const {length} = text;
  if (length === 0 || length > 20) return undefined;
  let at = 0;
  if (text.charCodeAt(0) === 45) {
    if (length === 1) return undefined;
    at = 1;
  }
  const first = text.charCodeAt(at);
  if (first === 48) return length === 1 ? 0 : undefined;
  for (let i = at; i < length; i++) {
    const code = text.charCodeAt(i);
    if (code < 48 || code > 57) return undefined;
  }
  if (length <= 15) return Number(text);
  const value = BigInt(text);
  return value > MAX_INT64 || value < MIN_INT64 ? undefined : canonical(value);
}

/** Parse an unsigned 64-bit integer made of digits only; leading zeros are allowed. */
export function parseUint64(text: string): Int64 | undefined {
  if (text.length === 0 || text.length > 40) return undefined;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code < 48 || code > 57) return undefined;
  }
  if (text.length <= 15) return Number(text);
  const value = BigInt(text);
  return value > MAX_UINT64 ? undefined : canonical(value);
}

/** An integer argument. Values beyond 2^53 lose their last digits, which counts and times can bear. */
export function integer(text: string): number {
  const value = parseInt64(text);
  if (value === undefined) throw notAnInteger();
  return Number(value);
}

/** An integer argument, exact. */
export function exactInteger(text: string): Int64 {
  const value = parseInt64(text);
  if (value === undefined) throw notAnInteger();
  return value;
}

/** a + b, or undefined when the sum leaves 64 bits. */
export function addInt64(a: Int64, b: Int64): Int64 | undefined {
  if (typeof a === 'number' && typeof b === 'number') {
    const sum = a + b;
    if (Number.isSafeInteger(sum)) return sum;
  }
  const sum = BigInt(a) + BigInt(b);
  return sum > MAX_INT64 || sum < MIN_INT64 ? undefined : canonical(sum);
}

const FLOAT = /^[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?$/i;
const INFINITE = /^([+-]?)inf(inity)?$/i;
const HEX_FLOAT = /^([+-]?)0x([0-9a-f]+)$/i;

/** Parse a double as C's strtod does on the whole text; NaN is refused. */
export function parseDouble(text: string): number | undefined {
  if (FLOAT.test(text)) return Number(text);
  const infinite = INFINITE.exec(text);
  if (infinite) return infinite[1] === '-' ? -Infinity : Infinity;
  const hex = HEX_FLOAT.exec(text);
  if (hex) return Number(`0x${hex[2] ?? '0'}`) * (hex[1] === '-' ? -1 : 1);
  return undefined;
}

/** A double argument. */
export function double(text: string): number {
  const value = parseDouble(text);
  if (value === undefined) throw notAFloat();
  return value;
}

/** Print a double like C's `%.17g`: what Redis 7.0 answers for scores. */
export function formatDouble(value: number): string {
  if (value === Infinity) return 'inf';
  if (value === -Infinity) return '-inf';
  if (Object.is(value, -0)) return '-0';
  if (Number.isSafeInteger(value)) return String(value);
  const [digits = '0', power = '0'] = value.toExponential(16).split('e');
  const exponent = Number(power);
  if (exponent < -4 || exponent >= 17) {
    const magnitude = Math.abs(exponent);
    const mantissa = dropTrailingZeros(digits);
    return `${mantissa}e${exponent < 0 ? '-' : '+'}${magnitude < 10 ? '0' : ''}${magnitude}`;
  }
  return dropTrailingZeros(value.toFixed(Math.max(0, Math.min(100, 16 - exponent))));
}

function dropTrailingZeros(text: string): string {
  return text.includes('.') ? text.replace(/\.?0+$/, '') : text;
}

const DECIMAL = /^([+-]?)(\d*)\.?(\d*)(?:e([+-]?\d+))?$/i;
/** Decimal places printed. */
const PLACES = 17;
/** Decimal places in which is computed. */
const SCALE = 80;
const UNIT = 10n ** BigInt(SCALE);
const MANTISSA_BITS = 64;
const MAX_EXPONENT = 4931;

const abs = (value: bigint) => (value < 0n ? -value : value);
const bits = (value: bigint) => value.toString(2).length;

/** a / b to the nearest, halves to even. */
function divide(a: bigint, b: bigint): bigint {
  const negative = a < 0n;
  const top = abs(a);
  const quotient = top / b;
  const twice = (top % b) * 2n;
  const rounded = twice > b || (twice === b && quotient % 2n === 1n) ? quotient + 1n : quotient;
  return negative ? -rounded : rounded;
}

/** To the nearest value an 80-bit float has. */
function toMantissa(scaled: bigint): bigint {
  if (scaled === 0n) return scaled;
  const shift = bits(abs(scaled)) - bits(UNIT) - MANTISSA_BITS;
  // One bit more or less than wanted, as the two lengths are rounded down.
  for (const exponent of [shift, shift + 1]) {
    const mantissa =
      exponent >= 0 ? divide(scaled, UNIT << BigInt(exponent)) : divide(scaled << BigInt(-exponent), UNIT);
    if (bits(abs(mantissa)) > MANTISSA_BITS) continue;
    return exponent >= 0
      ? (mantissa * UNIT) << BigInt(exponent)
      : divide(mantissa * UNIT, 1n << BigInt(-exponent));
  }
  return scaled;
}

function toDecimal(text: string): bigint | undefined {
  const match = DECIMAL.exec(text);
  if (!match || parseDouble(text) === undefined) return undefined;
  const [, sign, whole = '', fraction = '', power = '0'] = match;
  const exponent = Number(power);
  if (Math.abs(exponent) > MAX_EXPONENT) return undefined;
  const shift = SCALE - fraction.length + exponent;
  const digits = BigInt(`${whole}${fraction}` || '0');
  const scaled = shift >= 0 ? digits * 10n ** BigInt(shift) : divide(digits, 10n ** BigInt(-shift));
  return toMantissa(sign === '-' ? -scaled : scaled);
}

/**
 * INCRBYFLOAT and HINCRBYFLOAT. Redis adds in 80-bit floats and prints 17 decimals, so this does the same in integers.
 *
 * @throws {CommandError} if either is not a number, or the sum is infinite.
 */
export function addDecimals(
  current: string,
  increment: string,
  notFloat = 'ERR value is not a valid float',
): string {
  if (parseDouble(current) === undefined) throw new CommandError(notFloat);
  if (parseDouble(increment) === undefined) throw notAFloat();
  const a = toDecimal(current);
  const b = toDecimal(increment);
  if (a === undefined || b === undefined) {
    throw new CommandError('ERR increment would produce NaN or Infinity');
  }
  const sum = divide(toMantissa(a + b), 10n ** BigInt(SCALE - PLACES));
  const digits = abs(sum)
    .toString()
    .padStart(PLACES + 1, '0');
  const text = dropTrailingZeros(`${digits.slice(0, -PLACES)}.${digits.slice(-PLACES)}`);
  return sum < 0n && text !== '0' ? `-${text}` : text;
}
