/** Which dead letters a filter means, and in which order. */
import {describe, expect, test} from 'vitest';
import {parseRate} from '../../src/cli/dead-letter-flags.js';
import {
  findLetters,
  idsFrom,
  selectLetters,
  type DeadLetterFilter,
} from '../../src/cli/dead-letter-filter.js';
import {readEdits} from '../../src/cli/read-edits.js';
import {ByError} from '../../src/errors.js';
import {encodeDeadLetter, newDeadLetter, type DeadLetter} from '../../src/protocol/deadletter.js';
import type {Store} from '../../src/store/store.js';
import {describeEachServer, type TestStore} from '../support/stores.js';

const command = (userCode: string) => ({
  action_type: 'ASK_AGENT',
  header: {message_id: 'm', session_id: 's', trace_id: 't', user_code: userCode},
  body: {content: 'x'},
});

const letters: Readonly<Record<string, Partial<DeadLetter> | string>> = {
  '1000-0': {
    source: 'execution',
    targetAgentType: 'ocr',
    reason: 'TypeError: page',
    commandPayload: command('u-1'),
  },
  '2000-0': {source: 'wakeup', targetAgentType: 'translator', reason: 'timeout after 30s', region: 'eu'},
  '2000-1': {
    source: 'execution',
    targetAgentType: 'translator',
    reason: 'refused',
    commandPayload: command('u-2'),
  },
  '3000-0':
    '{"execution_id":"e","target_agent_type":"translator","status":"FAILED","reason":"timeout after 5s"}',
  '4000-0': 'no JSON',
  '5000-0': {source: 'poison', targetAgentType: 'ocr', reason: 'not JSON', xData: '{'},
};

async function fill(at: TestStore): Promise<Store> {
  const store = at.open();
  for (const [id, fields] of Object.entries(letters)) {
    const document =
      typeof fields === 'string'
        ? fields
        : encodeDeadLetter(
            newDeadLetter({
              source: 'manual',
              reason: '',
              commandPayload: {},
              firstFailedAt: 1,
              ...without(fields),
            }),
          );
    await at.redis().xadd(store.keys.deadletter(), id, 'data', document);
  }
  await at.redis().set(store.keys.deadletterReplay('2000-1'), '{"execution_id":"e-2"}', 'EX', 100);
  return store;
}

/** The source of ours is never ''. */
const without = ({source, ...rest}: Partial<DeadLetter>) => ({...rest, ...(source ? {source} : {})});

describeEachServer('a filter of dead letters', at => {
  test.each<readonly [Partial<DeadLetterFilter>, string[]]>([
    [{}, ['5000-0', '4000-0', '3000-0', '2000-1', '2000-0', '1000-0']],
    [{agent: 'ocr'}, ['5000-0', '1000-0']],
    [{code: 'EXECUTION_FAILED'}, ['2000-1', '1000-0']],
    [{code: 'UNREADABLE'}, ['4000-0']],
    [{source: 'poison'}, ['5000-0']],
    [{source: 'wakeup', agent: 'translator'}, ['3000-0', '2000-0']],
    [{reason: '^timeout after \\d+s$'}, ['3000-0', '2000-0']],
    [{userCode: 'u-2'}, ['2000-1']],
    [{region: 'eu'}, ['2000-0']],
    [{since: '2000-1'}, ['5000-0', '4000-0', '3000-0', '2000-1']],
    [{until: '2000-0'}, ['2000-0', '1000-0']],
    [{since: '1970-01-01T00:00:02Z', until: '1970-01-01T00:00:03Z'}, ['3000-0', '2000-1', '2000-0']],
    [{replayable: 'yes'}, ['1000-0']],
    [{replayable: 'no', agent: 'ocr'}, ['5000-0']],
    [{replayed: 'yes'}, ['2000-1']],
    [{replayed: 'no', agent: 'translator'}, ['3000-0', '2000-0']],
    [{limit: 2}, ['5000-0', '4000-0']],
  ])('%j', async (filter, ids) => {
    const store = await fill(at);
    const found = await findLetters(store, {limit: 100, ...filter}, 'newest');
    expect(found.letters.map(({row}) => row.id)).toEqual(ids);
    expect(found.hasMore).toBe(filter.limit !== undefined);
    const oldest = await findLetters(store, {limit: 100, ...filter}, 'oldest');
    if (filter.limit === undefined) expect(oldest.letters.map(({row}) => row.id)).toEqual(ids.toReversed());
    else expect(oldest.letters.map(({row}) => row.id)).toEqual(['1000-0', '2000-0']);
  });

  test('finds what is many pages away', async () => {
    const store = at.open();
    const redis = at.redis();
    for (let i = 0; i < 1201; i++)
      await redis.xadd(store.keys.deadletter(), `${i + 1}-0`, 'data', `{"target_agent_type":"t-${i}"}`);
    for (const order of ['newest', 'oldest'] as const) {
      const {letters: found} = await findLetters(store, {agent: 't-600', limit: 5}, order);
      expect(found.map(({row}) => row.id)).toEqual(['601-0']);
    }
  });

  test('says of each what can become of it', async () => {
    const store = await fill(at);
    const {letters: found} = await findLetters(store, {limit: 100}, 'oldest');
    expect(found.map(({row}) => row.replay)).toEqual([
      ...['yes', 'no-payload', 'replayed', 'no-payload', 'unreadable', 'no-payload'],
    ]);
  });

  test('is asked for, or ids are, but not both', async () => {
    const store = await fill(at);
    const select = (ids: string[], all: boolean, filter: Partial<DeadLetterFilter> = {}) =>
      selectLetters(store, {ids, all, filter: {limit: 100, ...filter}});
    await expect(select([], false)).rejects.toMatchObject({code: 'USAGE'});
    await expect(select([], false, {replayed: 'no'})).rejects.toMatchObject({code: 'USAGE'});
    await expect(select(['1000-0'], true)).rejects.toMatchObject({code: 'USAGE'});
    await expect(select(['1000-0'], false, {agent: 'ocr'})).rejects.toMatchObject({code: 'USAGE'});
    await expect(select(['9-9'], false)).rejects.toMatchObject({code: 'NOT_FOUND'});
    await expect(select([], false, {reason: '['})).rejects.toMatchObject({code: 'INVALID_INPUT'});
    const twice = await select(['1000-0', '1000-0'], false, {userCode: 'u-1'});
    expect(twice.entries.map(({id}) => id)).toEqual(['1000-0']);
  });
});

describe('words of the command line', () => {
  test.each([
    ['5/s', 5],
    ['30/m', 0.5],
    ['36/h', 0.01],
    ['2.5', 2.5],
  ])('%s is a rate', (text, rate) => {
    expect(parseRate(text)).toBeCloseTo(rate);
  });

  test.each(['', '0', '0/s', '-1/s', '5/d', 'fast', '5 /s'])('%j is none', text => {
    expect(() => parseRate(text)).toThrow(ByError);
  });

  test('--set takes JSON as JSON and the rest as text', () => {
    expect(readEdits(['a.b=7', 'c={"d":[1]}', 'e=Hi = there', 'f='], ['g.h'])).toEqual([
      {path: 'a.b', value: 7},
      {path: 'c', value: {d: [1]}},
      {path: 'e', value: 'Hi = there'},
      {path: 'f', value: ''},
      {path: 'g.h', value: undefined},
    ]);
    expect(() => readEdits(['nothing'], [])).toThrow(ByError);
    expect(() => readEdits(['=x'], [])).toThrow(ByError);
  });

  test('- reads ids from standard input', async () => {
    expect(await idsFrom(['1-0', '-'], async () => '2-0\n3-0  4-0\n')).toEqual(['1-0', '2-0', '3-0', '4-0']);
  });
});
