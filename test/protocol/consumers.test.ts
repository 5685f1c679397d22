import {describe, expect, test} from 'vitest';
import {consumerName, handOverName, isDeadConsumer, parseConsumerName} from '../../src/protocol/consumers.js';
import {decodePresence, encodePresence} from '../../src/protocol/presence.js';

const TOKEN = '0123456789abcdef0123456789abcdef';
const OTHER = 'ffffffffffffffffffffffffffffffff';
const leaseOf = (token: string) => decodePresence(encodePresence({token, lastSeen: 1, ipAddress: ''}));

describe('a consumer', () => {
  test('of ours is named after the worker and its incarnation, and read back', () => {
    expect(consumerName('w-1', TOKEN)).toBe('w-1#0123456789ab');
    expect(parseConsumerName('w-1#0123456789ab')).toEqual({workerId: 'w-1', incarnation: '0123456789ab'});
  });

  test.each(['py-worker', 'a#b', 'a#0123456789AB', '#0123456789ab', 'a#b#0123456789ab', ''])(
    'named %j is some other program’s: the whole name is the worker id',
    name => expect(parseConsumerName(name)).toEqual({workerId: name, incarnation: undefined}),
  );

  test('is dead without a lease', () => {
    for (const name of ['py-worker', consumerName('w-1', TOKEN)])
      expect(isDeadConsumer(parseConsumerName(name), undefined, false)).toBe(true);
  });

  test('of ours lives as long as its own incarnation has the lease', () => {
    const name = parseConsumerName(consumerName('w-1', TOKEN));
    expect(isDeadConsumer(name, leaseOf(TOKEN), false)).toBe(false);
    expect(isDeadConsumer(name, leaseOf(OTHER), false)).toBe(true);
    expect(isDeadConsumer(name, decodePresence('1'), false)).toBe(true);
  });

  test('with a bare name lives with any lease, unless one of ours holds it', () => {
    const name = parseConsumerName('w-1');
    expect(isDeadConsumer(name, leaseOf(TOKEN), false)).toBe(false);
    expect(isDeadConsumer(name, decodePresence('legacy'), false)).toBe(false);
    expect(isDeadConsumer(name, leaseOf(TOKEN), true)).toBe(true);
  });

  test('that takes what a stopping worker gives up was never alive', () => {
    expect(isDeadConsumer(parseConsumerName(handOverName('w-1')), leaseOf(TOKEN), false)).toBe(true);
  });
});
