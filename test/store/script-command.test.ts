/** The bytes of a script's call: what a server reads is what was given, whatever letters it has. */
import {expect, test} from 'vitest';
import {encodeScriptCall} from '../../src/store/script-command.js';
import fc from '../support/properties.js';

/** The array of texts as the protocol spells it, put together the plain way. */
function spelled(parts: readonly (string | Buffer)[]): Buffer {
  const pieces = parts.map(part => {
    const bytes = Buffer.from(part);
    return Buffer.concat([Buffer.from(`$${bytes.length}\r\n`), bytes, Buffer.from('\r\n')]);
  });
  return Buffer.concat([Buffer.from(`*${parts.length}\r\n`), ...pieces]);
}

const arg = fc.oneof(
  fc.string({unit: 'binary', maxLength: 100}),
  fc.string({maxLength: 100}),
  fc.integer(),
  fc.uint8Array({maxLength: 100}).map(bytes => Buffer.from(bytes)),
);

test('any keys and arguments', () => {
  fc.assert(
    fc.property(fc.array(fc.string({unit: 'binary'})), fc.array(arg), (keys, args) => {
      const texts = args.map(one => (typeof one === 'number' ? String(one) : one));
      expect(encodeScriptCall('EVALSHA', 'abc', {keys, args})).toEqual(
        spelled(['EVALSHA', 'abc', String(keys.length), ...keys, ...texts]),
      );
    }),
  );
});

test('a large one between small ones', () => {
  for (const large of ['x'.repeat(300_000), 'é'.repeat(2_000_000), Buffer.alloc(200_000, 7)]) {
    expect(
      encodeScriptCall('EVAL', 'return 1', {keys: ['k'], args: ['', large, 'ä']}).equals(
        spelled(['EVAL', 'return 1', '1', 'k', '', large, 'ä']),
      ),
    ).toBe(true);
    expect(encodeScriptCall('EVAL', 's', {keys: [], args: []}).equals(spelled(['EVAL', 's', '0']))).toBe(
      true,
    );
  }
});
