import {describe, expect, test} from 'vitest';
import {
  MAX_DEPTH,
  MAX_DOCUMENT_BYTES,
  MAX_KEYS_PER_OBJECT,
  MAX_STRING_LENGTH,
  parseUntrusted,
  parseUntrustedObject,
  ProtocolError,
} from '../../src/protocol/limits.js';
import fc from '../support/properties.js';

const codeOf = (action: () => unknown): string => {
  try {
    action();
  } catch (error) {
    if (error instanceof ProtocolError) return error.code;
    throw error;
  }
  return 'none';
};

const nested = (levels: number) => '['.repeat(levels) + ']'.repeat(levels);
const wide = (keys: number) =>
  JSON.stringify(Object.fromEntries(Array.from({length: keys}, (_, i) => [`k${i}`, 0])));

describe('parseUntrusted', () => {
  test('gives what JSON.parse gives for every ordinary document', () => {
    fc.assert(
      fc.property(fc.json({maxDepth: 5}), text => {
        fc.pre(!/__proto__|constructor|prototype/.test(text));
        expect(parseUntrusted(text)).toEqual(JSON.parse(text));
        expect(parseUntrusted(Buffer.from(text))).toEqual(JSON.parse(text));
      }),
    );
  });

  test('refuses anything else with a ProtocolError, whatever the bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({maxLength: 200}), bytes => {
        expect(['none', 'NOT_UTF8', 'NOT_JSON']).toContain(codeOf(() => parseUntrusted(bytes)));
      }),
    );
  });

  test('takes a document at the cap and refuses one byte more, before parsing it', () => {
    const fill = (bytes: number) => `[${'1,'.repeat((bytes - 4) / 2)}12`.slice(0, bytes - 1) + ']';
    expect(Buffer.byteLength(fill(MAX_DOCUMENT_BYTES))).toBe(MAX_DOCUMENT_BYTES);
    expect(codeOf(() => parseUntrusted(fill(MAX_DOCUMENT_BYTES)))).toBe('none');
    expect(codeOf(() => parseUntrusted('x'.repeat(MAX_DOCUMENT_BYTES + 1)))).toBe('TOO_LARGE');
    expect(codeOf(() => parseUntrusted(Buffer.alloc(64 * MAX_DOCUMENT_BYTES)))).toBe('TOO_LARGE');
  });

  test('counts bytes, not characters', () => {
    const text = JSON.stringify('世'.repeat(MAX_DOCUMENT_BYTES / 3 + 1));
    expect(codeOf(() => parseUntrusted(text))).toBe('TOO_LARGE');
  });

  test('refuses a document nested too deep, even one that would exhaust the call stack', () => {
    expect(codeOf(() => parseUntrusted(nested(MAX_DEPTH)))).toBe('none');
    expect(codeOf(() => parseUntrusted(nested(MAX_DEPTH + 1)))).toBe('TOO_DEEP');
    expect(codeOf(() => parseUntrusted(nested(200_000)))).toBe('TOO_DEEP');
    expect(codeOf(() => parseUntrusted('{"a":'.repeat(100_000) + '0' + '}'.repeat(100_000)))).toBe(
      'TOO_DEEP',
    );
  });

  test('refuses an object with too many keys', () => {
    expect(codeOf(() => parseUntrusted(wide(MAX_KEYS_PER_OBJECT)))).toBe('none');
    expect(codeOf(() => parseUntrusted(wide(MAX_KEYS_PER_OBJECT + 1)))).toBe('TOO_MANY_KEYS');
  });

  test('refuses a string that is too long, be it a value or a key', () => {
    const long = 'x'.repeat(MAX_STRING_LENGTH + 1);
    expect(codeOf(() => parseUntrusted(JSON.stringify(long.slice(1))))).toBe('none');
    expect(codeOf(() => parseUntrusted(JSON.stringify([long])))).toBe('STRING_TOO_LONG');
    expect(codeOf(() => parseUntrusted(JSON.stringify({[long]: 1})))).toBe('STRING_TOO_LONG');
  });

  test.each(['__proto__', 'constructor', 'prototype', '__pr\\u006fto__'])(
    'refuses the key %s at any depth',
    key => {
      expect(codeOf(() => parseUntrusted(`{"a":[{"${key}":{"polluted":1}}]}`))).toBe('FORBIDDEN_KEY');
      expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
    },
  );

  test.each([
    ['an overlong slash', [0x22, 0xc0, 0xaf, 0x22]],
    ['a lone continuation byte', [0x22, 0x80, 0x22]],
    ['a surrogate', [0x22, 0xed, 0xa0, 0x80, 0x22]],
    ['a cut character', [0x22, 0xe4, 0xb8, 0x22]],
  ])('refuses bytes that are not UTF-8: %s', (_what, bytes) => {
    expect(codeOf(() => parseUntrusted(Uint8Array.from(bytes)))).toBe('NOT_UTF8');
  });

  test('does not quote the document in its error, for it may hold secrets', () => {
    expect(() => parseUntrusted('hunter2')).toThrow(/^The document is not JSON\.$/);
  });

  test.each(['[]', 'null', '1', '"x"'])('an object is asked for and %s is not one', text => {
    expect(codeOf(() => parseUntrustedObject(text))).toBe('NOT_AN_OBJECT');
  });
});
