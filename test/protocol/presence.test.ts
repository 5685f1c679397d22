import {describe, expect, test} from 'vitest';
import {decodePresence, encodePresence} from '../../src/protocol/presence.js';
import fc from '../support/properties.js';

describe('presence', () => {
  test('is read as it was written', () => {
    fc.assert(
      fc.property(
        fc.option(fc.stringMatching(/^[0-9a-f]{32}$/)),
        fc.nat(),
        fc.ipV4(),
        (token, lastSeen, ipAddress) => {
          const presence = {token, lastSeen, ipAddress};
          const read = decodePresence(encodePresence(presence));
          expect(read).toEqual({...presence, legacy: false, online: lastSeen > 0});
        },
      ),
    );
  });

  test('has an answer for every text there can be', () => {
    fc.assert(
      fc.property(fc.oneof(fc.string(), fc.json()), text => {
        const {legacy, online, lastSeen} = decodePresence(text);
        expect(online).toBe(legacy || lastSeen > 0);
      }),
    );
  });

  test.each(['['.repeat(200_000), '{"a":'.repeat(50_000), `"${'x'.repeat(2_000_000)}"`, '{"__proto__":1}'])(
    'of a hostile value is merely an old worker (case %#)',
    text => {
      expect(decodePresence(text)).toEqual({
        token: text,
        lastSeen: 0,
        ipAddress: '',
        legacy: true,
        online: true,
      });
    },
  );

  test('of an absent key is offline', () => {
    expect(decodePresence(null)).toMatchObject({online: false, legacy: false});
  });
});
