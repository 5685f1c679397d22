import {describe, expect, test} from 'vitest';
import {decodePresence, encodePresence} from '../../src/protocol/presence.js';
import {deadConsumers} from '../../src/worker/recovery.js';

const tokenOf = (incarnation: string) => incarnation.padEnd(32, '0');
const leases = (held: Readonly<Record<string, string>>) =>
  new Map(
    Object.entries(held).map(([id, incarnation]) => [
      id,
      decodePresence(encodePresence({token: tokenOf(incarnation), lastSeen: 1, ipAddress: ''})),
    ]),
  );
const facts = (name: string, pending = 1, idleMs = 0) => ({name, pending, idleMs});
const me = {name: 'me#aaaaaaaaaaaa', workerId: 'me'};
const dead = (consumers: Parameters<typeof deadConsumers>[0], held: Readonly<Record<string, string>>) =>
  deadConsumers(consumers, leases(held), me).map(({name, minIdleMs}) => [name, minIdleMs]);

describe('of the consumers of a group', () => {
  test('those are dead whose worker has no lease; of other SDKs only older entries are taken', () => {
    const consumers = [facts('w-1#bbbbbbbbbbbb'), facts('py'), facts('w-2#cccccccccccc'), facts('py-2')];
    expect(dead(consumers, {'w-2': 'cccccccccccc', 'py-2': 'dddddddddddd'})).toEqual([
      ['w-1#bbbbbbbbbbbb', 0],
      ['py', 5000],
    ]);
  });

  test('an earlier life of a worker id is dead, the present one is not', () => {
    const consumers = [facts('w-1#bbbbbbbbbbbb'), facts('w-1#cccccccccccc'), facts('w-1')];
    expect(dead(consumers, {'w-1': 'cccccccccccc'})).toEqual([
      ['w-1#bbbbbbbbbbbb', 0],
      // Its lease is held by one of ours.
      ['w-1', 5000],
    ]);
  });

  test('we are never dead to ourselves, but our earlier lives are, under either kind of name', () => {
    const consumers = [facts(me.name), facts('me#bbbbbbbbbbbb'), facts('me')];
    expect(dead(consumers, {me: 'aaaaaaaaaaaa'})).toEqual([
      ['me#bbbbbbbbbbbb', 0],
      ['me', 0],
    ]);
    expect(dead([facts(me.name)], {})).toEqual([]);
  });

  test('those that hold suspects come last', () => {
    const consumers = [facts('w-1#ffffffffffff'), facts('w-1#bbbbbbbbbbbb'), facts('w-1#000000000000')];
    expect(dead(consumers, {}).map(([name]) => name)).toEqual([
      'w-1#bbbbbbbbbbbb',
      'w-1#000000000000',
      'w-1#ffffffffffff',
    ]);
  });

  test('one that holds nothing is looked at only after it has been silent for long', () => {
    expect(dead([facts('w-1#bbbbbbbbbbbb', 0, 1000)], {})).toEqual([]);
    expect(dead([facts('w-1#bbbbbbbbbbbb', 0, 60_000)], {})).toEqual([['w-1#bbbbbbbbbbbb', 0]]);
  });
});
