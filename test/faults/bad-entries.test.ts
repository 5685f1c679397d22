/**
 * T13, G6: entries that can not be read, or must not be carried out. Each lies between good ones. All good ones run, each
 * bad one becomes a dead letter with its bytes and a reason, nothing stays pending.
 */
import {createHash} from 'node:crypto';
import {expect, test} from 'vitest';
import {awaitWakeup} from '../../src/availability/await-wakeup.js';
import {startManager} from '../../src/availability/manager.js';
import {replayMany} from '../../src/availability/replay-many.js';
import {planReplay, type ReplayPlan} from '../../src/availability/replay.js';
import {systemClock} from '../../src/clock.js';
import {silentLogger} from '../../src/log.js';
import {
  encodeDeadLetter,
  MAX_RAW_BYTES,
  newDeadLetter,
  preserveBytes,
} from '../../src/protocol/deadletter.js';
import {encodePendingDelivery, decodePendingDelivery} from '../../src/protocol/delivery.js';
import {decodeWakeupRequest, encodeWakeupRequest} from '../../src/protocol/wakeup.js';
import {decisionsFor} from '../../src/registry/wakeups.js';
import {listDeadLetters, oldestDeadLetters} from '../../src/store/dead-letters.js';
import {dropDeadLetter} from '../../src/store/replays.js';
import type {Store} from '../../src/store/store.js';
import {describeEachStore, until, type TestStore} from '../support/stores.js';
import {deadLetters, eventKinds, recordOf, send, TYPE, withStatus, work} from './support.js';

type Doc = Readonly<Record<string, unknown>>;
/** Field names and values in turn, or only the value of `data`. */
type Fields = readonly (string | Buffer)[];
type Bad = readonly [name: string, fields: Fields | string | Buffer, reason: RegExp];

const OTHER_TYPE = 'reader';
const WORKER = 'w-1';

const header = (given: Doc = {}): Doc => ({session_id: 'sess-1', target_agent_type: TYPE, ...given});
const ask = (given: Doc = {}, body: Doc = {content: 'bad'}): string =>
  JSON.stringify({action_type: 'ASK_AGENT', header: header(given), body});
const command = (doc: Doc): string => JSON.stringify({header: header(), body: {content: 'bad'}, ...doc});
const nested = (levels: number) => `${'{"a":'.repeat(levels)}0${'}'.repeat(levels)}`;
const wide = (keys: number) => Object.fromEntries(Array.from({length: keys}, (_, i) => [`k${i}`, 0]));
/** `text` inside the content of an ASK, byte by byte. */
const raw = (...bytes: number[]) => {
  const [before = '', after = ''] = ask({}, {content: '@'}).split('@');
  return Buffer.concat([Buffer.from(before), Buffer.from(bytes), Buffer.from(after)]);
};
const escaped = (text: string, document: string) => document.replace('"bad"', `"${text}"`);

/** What no reader of JSON documents takes. */
const notDocuments: readonly Bad[] = [
  ['no field data', ['payload', ask()], /one field "data"/],
  ['two fields data', ['data', ask(), 'data', ask({}, {content: 'other'})], /one field "data"/],
  ['an empty document', '', /not JSON/],
  ['text', 'hello', /not JSON/],
  ['cut JSON', ask().slice(0, -5), /not JSON/],
  ['a byte order mark', Buffer.concat([Buffer.from([0xef, 0xbb, 0xbf]), Buffer.from(ask())]), /not JSON/],
  ['UTF-16', Buffer.from(ask(), 'utf16le'), /not JSON|not UTF-8/],
  ['an overlong slash', raw(0xc0, 0xaf), /not UTF-8/],
  ['a cut character', raw(0xe4, 0xb8), /not UTF-8/],
  ['a raw NUL', raw(0), /not JSON/],
  ['a surrogate in UTF-8', raw(0xed, 0xa0, 0x80), /not UTF-8/],
  ['half a surrogate pair', escaped('\\uD83D', ask()), /half a surrogate/],
  ['NaN', escaped('x","n":NaN,"y":"', ask()), /not JSON/],
  ['null', 'null', /not a JSON object|is a JSON object/],
  ['a list', `[${ask()}]`, /not a JSON object|is a JSON object/],
  // What holds a command inside may be larger than a command, a text in it may not.
  ['over a mebibyte', ask({}, {content: 'x'.repeat(1024 * 1024)}), /larger than|longer than/],
  ['eight mebibytes of nothing', Buffer.alloc(8 * 1024 * 1024), /larger than/],
  ['a text of 300 KiB', ask({}, {content: 'x'.repeat(300 * 1024)}), /longer than/],
  ['200,000 levels', nested(150_000), /nested deeper/],
  ['65 levels', command({x: JSON.parse(nested(65)) as Doc}), /nested deeper/],
  ['1025 keys', ask({metadata: wide(1025)}), /more than 1024 keys/],
  ['the key __proto__', ask().replace('{', '{"__proto__":{"polluted":1},'), /__proto__/],
  ['constructor.prototype', ask({metadata: {constructor: {prototype: {polluted: 1}}}}), /constructor/],
];

/** Documents that are no command, or one that must not run here. */
const notCommands: readonly Bad[] = [
  ['an empty object', '{}', /action_type/],
  ['an unknown action', command({action_type: 'DROP_EVERYTHING'}), /action_type/],
  ['an action every object has', command({action_type: 'toString'}), /action_type/],
  ['an action of another type', command({action_type: ['ASK_AGENT']}), /action_type/],
  ['an action without a command', command({action_type: 'ASK_USER'}), /action_type/],
  ['no header', command({action_type: 'ASK_AGENT', header: undefined}), /no header/],
  ['a header that is a list', command({action_type: 'ASK_AGENT', header: []}), /no header/],
  ['no session', ask({session_id: undefined}), /no session_id/],
  ['a session that is an object', ask({session_id: {a: 1}}), /no session_id/],
  ['a session beyond 2^53', ask().replace('"sess-1"', '9007199254740993'), /session_id is not a valid id/],
  ['a session that is a path', ask({session_id: '../../etc'}), /session_id/],
  ['an absolute path', ask({session_id: '/etc/passwd'}), /session_id/],
  ['a Windows path', ask({message_id: 'C:\\x'}), /message_id/],
  ['an id with a NUL', ask({message_id: 'a\0b'}), /message_id/],
  ['an id with a line', ask({parent_message_id: 'a\nb'}), /parent_message_id/],
  ['an id with braces', ask({task_group_id: '{x}'}), /task_group_id/],
  ['an id of 129 characters', ask({message_id: 'm'.repeat(129)}), /message_id/],
  ['content of a wrong type', ask({}, {content: 7}), /content/],
  ['content with a wrong item', ask({}, {content: ['x']}), /content/],
  ['a caller that is a path', ask({source_agent_type: '../boss'}), /source_agent_type/],
  ['a cancel of nobody', command({action_type: 'CANCEL_TASK', body: {}}), /target_message_id/],
  [
    'a cancel of a path',
    command({action_type: 'CANCEL_TASK', body: {target_message_id: '../m'}}),
    /target_message_id/,
  ],
];

const foreign: Bad = ['addressed to another stream', ask({target_agent_type: OTHER_TYPE}), /reader/];

const fieldsOf = (fields: Bad[1]): Fields =>
  typeof fields === 'string' || Buffer.isBuffer(fields) ? ['data', fields] : fields;

/** The bytes a dead letter keeps of an entry. */
function keptOf(fields: Bad[1]): Buffer {
  const all = fieldsOf(fields);
  const names = all.filter((_, i) => i % 2 === 0);
  if (names.filter(name => name === 'data').length === 1) return Buffer.from(all[1] ?? '');
  return Buffer.concat(all.flatMap((part, i) => [Buffer.from(i === 0 ? '' : '\n'), Buffer.from(part)]));
}

/** Good, bad, good, bad, ..., good. @returns the bad ones' entry ids. */
async function write(
  at: TestStore,
  stream: string,
  corpus: readonly Bad[],
  good: (i: number) => string,
): Promise<string[]> {
  const redis = at.redis();
  const ids: string[] = [];
  for (const [i, [, fields]] of corpus.entries()) {
    await redis.xadd(stream, '*', 'data', good(i));
    ids.push((await redis.xadd(stream, '*', ...fieldsOf(fields))) ?? '');
  }
  await redis.xadd(stream, '*', 'data', good(corpus.length));
  return ids;
}

/** Commands that are whole, and in the wrong place: as such they can be replayed. */
const READABLE = new Set(['for an agent type it does not serve', 'addressed to another stream']);

/** Every bad entry is a dead letter: its bytes, where it was, and why. */
async function expectDeadLetters(
  at: TestStore,
  store: Store,
  stream: string,
  corpus: readonly Bad[],
  ids: readonly string[],
): Promise<void> {
  await until(async () => (await deadLetters(at, store)).length >= corpus.length);
  const letters = new Map((await deadLetters(at, store)).map(letter => [letter['x_entry_id'], letter]));
  const found = corpus.map(([name], i) => {
    const letter = letters.get(ids[i]);
    const kept = READABLE.has(name) ? letter?.['command_payload'] : letter?.['x_data'];
    return [name, letter?.['x_stream'], letter?.['reason'], kept];
  });
  expect(found).toEqual(
    corpus.map(([name, fields, reason]): unknown[] => {
      const kept = keptOf(fields);
      if (READABLE.has(name)) {
        const command = expect.objectContaining(JSON.parse(String(kept)) as object) as unknown;
        return [name, stream, expect.stringMatching(reason), command];
      }
      const sha256 = createHash('sha256').update(kept).digest('hex');
      return [
        name,
        stream,
        expect.stringMatching(
          new RegExp(`(?:${reason.source}).*\\(${kept.length} bytes, sha256 ${sha256}\\)$`, 's'),
        ),
        preserveBytes(kept.subarray(0, MAX_RAW_BYTES)),
      ];
    }),
  );
  expect(letters.size).toBe(corpus.length);
  expect(({} as Record<string, unknown>)['polluted']).toBeUndefined();
}

async function expectNothingLeft(at: TestStore, stream: string, group: string): Promise<void> {
  const redis = at.redis();
  await until(async () => (await redis.xlen(stream)) === 0);
  await until(async () => (await redis.xpending(stream, group))[0] === 0);
}

const numbered = (corpus: readonly Bad[]) => [...corpus, undefined].map((_, i) => `good-${i}`);

describeEachStore('bad entries', at => {
  test("on an agent type's stream: their neighbours run, once each", async () => {
    const store = at.open();
    const corpus = [...notDocuments, ...notCommands, foreign];
    const stream = store.keys.ctrlStream(TYPE);
    const seen: string[] = [];
    const ids = await write(at, stream, corpus, i => ask({message_id: `msg-${i}`}, {content: `good-${i}`}));
    await work(at, store, (_ctx, text) => void seen.push(text));
    await expectDeadLetters(at, store, stream, corpus, ids);
    await expectNothingLeft(at, stream, 'agent_engines');
    expect(seen.sort()).toEqual(numbered(corpus).sort());
    await send(store, 'canary');
    await until(() => seen.includes('canary'));
  });

  test("on a worker's own stream: the worker goes on listening there", async () => {
    const store = at.open();
    const notServed: Bad = [
      'for an agent type it does not serve',
      ask({target_agent_type: OTHER_TYPE}),
      /serve "reader"/,
    ];
    const corpus = [...notDocuments, ...notCommands, notServed];
    const stream = store.keys.workerCtrlStream(WORKER);
    const seen: string[] = [];
    const ids = await write(at, stream, corpus, i => ask({message_id: `msg-${i}`}, {content: `good-${i}`}));
    await work(at, store, (_ctx, text) => void seen.push(text), {workerId: WORKER});
    await expectDeadLetters(at, store, stream, corpus, ids);
    await expectNothingLeft(at, stream, 'agent_engines');
    expect(seen.sort()).toEqual(numbered(corpus).sort());
  });

  test('on the wakeup stream: every other caller is answered', async () => {
    const store = at.open();
    const stream = store.keys.wakeup();
    const request = (given: Doc) =>
      encodeWakeupRequest(decodeWakeupRequest({target_agent_type: TYPE, timeout_ms: 60_000, ...given}));
    const wakeup = (given: Doc) => JSON.stringify({execution_id: 'x', target_agent_type: TYPE, ...given});
    const corpus: Bad[] = [
      ...notDocuments,
      ['an empty object', '{}', /can not be an id/],
      ['no execution', wakeup({execution_id: ''}), /can not be an id/],
      ['an execution of another type', wakeup({execution_id: {a: 1}}), /can not be an id/],
      ['an execution that is a path', wakeup({execution_id: '../x'}), /can not be an id/],
      ['no agent type', wakeup({target_agent_type: null}), /can not be an id/],
      ['an agent type of 129 characters', wakeup({target_agent_type: 'x'.repeat(129)}), /can not be an id/],
      ['a user with braces', wakeup({user_code: '{u}'}), /part of a key/],
      ['a region with a space', wakeup({region: 'a b'}), /part of a key/],
    ];
    const woken: string[] = [];
    const ids = await write(at, stream, corpus, i =>
      request({execution_id: `exec-${i}`, user_code: `u${i}`}),
    );
    const manager = await startManager(store, {
      log: silentLogger,
      provider: {
        name: 'test',
        wakeup: ({userCode}) => {
          woken.push(userCode);
          return Promise.resolve({status: 'REJECTED' as const, reason: 'not today'});
        },
      },
    });
    at.cleanup(() => manager.stop());
    await expectDeadLetters(at, store, stream, corpus, ids);
    await expectNothingLeft(at, stream, 'by_managers');
    expect(woken.sort()).toEqual(
      numbered(corpus)
        .map((_, i) => `u${i}`)
        .sort(),
    );
    const redis = at.redis();
    for (const i of numbered(corpus).keys())
      expect(await redis.xlen(store.keys.wakeupResult(`exec-${i}`))).toBe(1);
  });

  test('among the pending deliveries: the others are delivered, to the stream of their type', async () => {
    const store = at.open();
    const stream = store.keys.deliveryPending();
    const delivery = (given: Doc) => ({
      ...{
        session_id: 'sess-1',
        target_agent_type: TYPE,
        delivery_stream: store.keys.ctrlStream(OTHER_TYPE),
      },
      ...given,
    });
    const pending = (given: Doc) =>
      JSON.stringify(delivery({command_payload: {action_type: 'ASK_AGENT'}, ...given}));
    const corpus: Bad[] = [
      ...notDocuments,
      ['an empty object', '{}', /no agent type/],
      ['an agent type that is a path', pending({target_agent_type: '../x'}), /no agent type/],
      ['no session', pending({session_id: ''}), /no session/],
      ['a session that is a path', pending({session_id: 'a/../b'}), /no session/],
      ['an execution that is a path', pending({execution_id: '../x'}), /execution id/],
      ['no command', pending({command_payload: undefined}), /no command/],
      ['a command that is a list', pending({command_payload: [1]}), /no command/],
    ];
    const good = (i: number) =>
      encodePendingDelivery(
        decodePendingDelivery(
          delivery({
            command_payload: JSON.parse(ask({message_id: `msg-${i}`}, {content: `good-${i}`})) as Doc,
          }),
        ),
      );
    const seen: string[] = [];
    const ids = await write(at, stream, corpus, good);
    const provider = {name: 'none', wakeup: () => Promise.reject(new Error('nobody asked'))};
    const manager = await startManager(store, {provider, log: silentLogger});
    at.cleanup(() => manager.stop());
    await work(at, store, (_ctx, text) => void seen.push(text));
    await expectDeadLetters(at, store, stream, corpus, ids);
    await expectNothingLeft(at, stream, 'by_managers');
    await until(() => seen.length === corpus.length + 1);
    expect(seen.sort()).toEqual(numbered(corpus).sort());
    expect(await at.redis().exists(store.keys.ctrlStream(OTHER_TYPE))).toBe(0);
  });

  test('that spoil a delivery already in its queue hold up neither it nor its neighbours', async () => {
    const store = at.open();
    const redis = at.redis();
    const {keys} = store;
    const good = JSON.stringify({
      ...{session_id: 'sess-1', target_agent_type: TYPE, execution_id: 'exec-1'},
      command_payload: JSON.parse(ask({message_id: 'msg-1'}, {content: 'good'})) as Doc,
    });
    await redis.sadd(keys.pendingTypes(), TYPE);
    const fresh = `${Date.now()}-1`;
    await redis.hset(keys.pendingPayloads(TYPE), '1-1', '{"spoilt', fresh, good);
    await redis.zadd(keys.pendingQueue(TYPE), 1, '1-1', Date.now(), fresh);
    // What the session keeps of the execution can not be read either.
    await redis.hset(keys.sessionRegistry('sess-1'), 'exec:exec-1', '"spoilt"');
    await redis.expire(keys.sessionRegistry('sess-1'), 60);
    const provider = {name: 'none', wakeup: () => Promise.reject(new Error('nobody asked'))};
    const manager = await startManager(store, {provider, log: silentLogger});
    at.cleanup(() => manager.stop());
    const seen: string[] = [];
    await work(at, store, (_ctx, text) => void seen.push(text));
    await until(() => seen.length === 1);
    const [letter] = await until(async () => {
      const letters = await deadLetters(at, store);
      return letters.length > 0 && letters;
    });
    expect(letter).toMatchObject({source: 'pending', x_entry_id: '1-1', x_data: '{"spoilt'});
    expect(await redis.exists(keys.pendingQueue(TYPE))).toBe(0);
  });

  test('on a result stream: who waits hears what comes behind each', async () => {
    const store = at.open();
    const stream = store.keys.wakeupResult('exec-1');
    const decision = (given: Doc) => JSON.stringify({execution_id: 'exec-1', status: 'STARTING', ...given});
    const corpus: Bad[] = [
      // With half a pair it is a document, and one without a status is a refusal: spec §7.5.
      ...notDocuments.filter(([name]) => name !== 'half a surrogate pair'),
      ['a decision for somebody else', decision({execution_id: 'exec-2', status: 'READY'}), /./],
      ['a number', '7', /./],
      ['a text', '"READY"', /./],
    ];
    await write(at, stream, corpus, i => decision({reason: `canary-${i}`}));
    await at.redis().xadd(stream, '*', 'data', decision({status: 'REJECTED', reason: 'the end'}));
    await at.redis().expire(stream, 60);
    const heard: string[] = [];
    const request = decodeWakeupRequest({execution_id: 'exec-1', target_agent_type: TYPE});
    const end = await awaitWakeup(store, request, {onDecision: ({reason}) => void heard.push(reason)});
    expect(end).toMatchObject({kind: 'rejected', reason: 'the end'});
    expect(heard).toEqual([...numbered(corpus).map((_, i) => `canary-${i}`), 'the end']);
    expect((await decisionsFor(store, 'exec-1')).length).toBeGreaterThan(corpus.length);
  });

  test('with wrong types in a decision: it is read as far as it goes, and never as READY', async () => {
    const store = at.open();
    const odd: readonly [given: Doc, kind: string][] = [
      [{}, 'rejected'],
      [{status: ['READY']}, 'rejected'],
      [{status: 'ready'}, 'rejected'],
      [{status: 'TIMEOUT', timestamp: 1}, 'rejected'],
      [{status: 'FALLBACK'}, 'rejected'],
      [{status: 'FALLBACK', selected_agent_type: {}}, 'rejected'],
      [{status: 'FALLBACK', selected_agent_type: 'alt', worker_ids: 'w', retry_after_ms: 'x'}, 'fallback'],
      [{status: 'READY', worker_ids: [{}]}, 'timeout'],
    ];
    for (const [i, [given, kind]] of odd.entries()) {
      const executionId = `exec-${i}`;
      const stream = store.keys.wakeupResult(executionId);
      await at.redis().xadd(stream, '*', 'data', JSON.stringify({execution_id: executionId, ...given}));
      await at.redis().expire(stream, 60);
      const request = decodeWakeupRequest({
        execution_id: executionId,
        target_agent_type: TYPE,
        // Only where it is to run out.
        timeout_ms: kind === 'timeout' ? 200 : 60_000,
      });
      expect((await awaitWakeup(store, request)).kind, JSON.stringify(given)).toBe(kind);
    }
  });

  test('among the dead letters: the others are listed and replayed, once each', async () => {
    const store = at.open();
    const stream = store.keys.deadletter();
    const corpus: Bad[] = [...notDocuments, ['a number', '7', /./], ['no letter', '{}', /./]];
    const letter = (i: number) =>
      encodeDeadLetter(
        newDeadLetter({
          ...{source: 'execution', reason: 'a bug', executionId: `exec-${i}`, targetAgentType: TYPE},
          ...{firstFailedAt: 1, deliveryStream: '', attempts: []},
          commandPayload: JSON.parse(ask({message_id: `msg-${i}`}, {content: `good-${i}`})) as Record<
            string,
            unknown
          >,
        }),
      );
    const bad = await write(at, stream, corpus, letter);
    const entries = await oldestDeadLetters(store, 1000);
    expect((await listDeadLetters(store, 1000)).map(({id}) => id).reverse()).toEqual(
      entries.map(({id}) => id),
    );
    const isReadable = new Set(['no letter', 'half a surrogate pair']);
    for (const [i, [name]] of corpus.entries())
      expect(entries.find(({id}) => id === bad[i])?.letter === undefined, name).toBe(!isReadable.has(name));

    const seen: string[] = [];
    await work(at, store, (_ctx, text) => void seen.push(text));
    const options = {policy: 'SEND_ANYWAY', newIds: false, keep: false, reason: '', actor: 'ann'} as const;
    const plans = await planReplay(store, entries, options);
    for (const one of plans) if (one.kind === 'skipped') expect(one).toMatchObject({code: 'PAYLOAD_LOST'});
    const isWork = (one: ReplayPlan) => one.kind !== 'skipped';
    await replayMany(store, systemClock, 'rpl-1', plans.filter(isWork), options, {});
    await until(() => seen.length > corpus.length);
    expect(seen.sort()).toEqual(numbered(corpus).sort());
    expect((await oldestDeadLetters(store, 1000)).map(({id}) => id)).toEqual(bad);
    for (const id of bad) expect(await dropDeadLetter(store, id, '{"action":"drop"}')).toBeTruthy();
    expect(await oldestDeadLetters(store, 1000)).toEqual([]);
  });

  test('in the queue of an agent type: each neighbour is delivered, each of them kept', async () => {
    const store = at.open();
    const redis = at.redis();
    const {keys} = store;
    const taken = (given: Doc) => JSON.stringify({session_id: 'sess-1', target_agent_type: TYPE, ...given});
    const spoilt = [
      ...['', 'hello', 'null', '[]', '{}', '7', ask().slice(0, -5), nested(65), ask()],
      ask().replace('{', '{"__proto__":{"polluted":1},'),
      taken({}),
      taken({command_payload: {}}),
      taken({command_payload: [1]}),
      taken({command_payload: JSON.parse(ask()) as Doc, session_id: '../x'}),
      taken({command_payload: JSON.parse(ask()) as Doc, execution_id: 'a b'}),
      taken({command_payload: JSON.parse(ask()) as Doc, target_agent_type: ''}),
    ];
    const now = Date.now();
    for (const i of spoilt.keys()) {
      const [bad, good] = [`${now + 2 * i}-1`, `${now + 2 * i + 1}-1`];
      const document = taken({
        command_payload: JSON.parse(ask({message_id: `msg-${i}`}, {content: `good-${i}`})) as Doc,
      });
      await redis.hset(keys.pendingPayloads(TYPE), bad, spoilt[i] ?? '', good, document);
      await redis.zadd(keys.pendingQueue(TYPE), now + 2 * i, bad, now + 2 * i + 1, good);
    }
    // One whose document is gone.
    await redis.zadd(keys.pendingQueue(TYPE), now, `${now}-2`);
    await redis.sadd(keys.pendingTypes(), TYPE);
    const provider = {name: 'none', wakeup: () => Promise.reject(new Error('nobody asked'))};
    const manager = await startManager(store, {provider, log: silentLogger});
    at.cleanup(() => manager.stop());
    const seen: string[] = [];
    await work(at, store, (_ctx, text) => void seen.push(text));
    await until(() => seen.length >= spoilt.length);
    await until(async () => (await redis.exists(keys.pendingQueue(TYPE))) === 0);
    expect(seen.sort()).toEqual(spoilt.map((_, i) => `good-${i}`).sort());
    const letters = await deadLetters(at, store);
    expect(letters.map(one => one['x_data'])).toEqual(spoilt);
    for (const one of letters) expect(one).toMatchObject({source: 'pending', status: 'FAILED'});
    expect(await redis.exists(keys.pendingPayloads(TYPE))).toBe(0);
  });
});

describeEachStore('odd entries', at => {
  test('that harm nobody run like any other', async () => {
    const store = at.open();
    const redis = at.redis();
    const odd: Record<string, string> = {
      'a field of a later version': ask({later: 1}, {content: 'a field of a later version', later: [1]}),
      'an escaped NUL': ask({message_id: 'odd-1'}, {content: 'an escaped NUL'}).replace(
        'ed NUL',
        'ed \\u0000NUL',
      ),
      'numbers beyond 2^53': ask(
        {message_id: 'odd-2', metadata: {n: 0}},
        {content: 'numbers beyond 2^53'},
      ).replace('"n":0', '"n":12345678901234567890,"m":1e999'),
      'wrong types beside the content': ask(
        {message_id: 'odd-3', metadata: [1], user_code: {a: 1}},
        {content: 'wrong types beside the content', wait_for_reply: [], extra_payload: 7},
      ),
      'an escaped pair': ask({message_id: 'odd-4'}, {content: 'an escaped pair'}).replace(
        'pair',
        'pair\\ud83d\\ude00',
      ),
      'a hint that is a path': ask(
        {message_id: 'odd-5', metadata: {by_execution_id: '../../x'}},
        {content: 'a hint that is a path'},
      ),
    };
    const seen: string[] = [];
    for (const document of Object.values(odd))
      await redis.xadd(store.keys.ctrlStream(TYPE), '*', 'data', document);
    await work(at, store, (_ctx, text) => void seen.push(text));
    await until(() => seen.length === Object.keys(odd).length);
    expect(seen.map(text => text.replace('\0', '').replace('😀', '')).sort()).toEqual(
      Object.keys(odd).sort(),
    );
    await expectNothingLeft(at, store.keys.ctrlStream(TYPE), 'agent_engines');
    expect(await deadLetters(at, store)).toEqual([]);
  });

  test('whose execution record can not be read do not stay pending, and others of the session run', async () => {
    const store = at.open();
    const redis = at.redis();
    const registry = store.keys.sessionRegistry('sess-1');
    const spoilt = [
      '5',
      '"x"',
      '[]',
      'null',
      '{"message_id":',
      '{"message_id":"odd-5","timeline":7,"x_attempt":"z"}',
    ];
    for (const [i, record] of spoilt.entries())
      await redis.hset(registry, `exec:exec-${i}`, record, `msg_map:odd-${i}`, `exec-${i}`);
    await redis.expire(registry, 60);
    for (const i of spoilt.keys()) {
      const document = ask(
        {message_id: `odd-${i}`, metadata: {by_execution_id: `exec-${i}`}},
        {content: `${i}`},
      );
      await redis.xadd(store.keys.ctrlStream(TYPE), '*', 'data', document);
    }
    // This one's session is no hash at all.
    await redis.set(store.keys.sessionRegistry('sess-2'), 'x', 'EX', 60);
    await redis.xadd(
      store.keys.ctrlStream(TYPE),
      '*',
      'data',
      ask({session_id: 'sess-2', message_id: 'odd-x'}),
    );
    at.breaksRules('sessionRegistry');
    const seen: string[] = [];
    await work(at, store, (_ctx, text) => void seen.push(text));
    await until(() => seen.length === spoilt.length);
    await expectNothingLeft(at, store.keys.ctrlStream(TYPE), 'agent_engines');
    expect(seen.sort()).toEqual(spoilt.map((_, i) => `${i}`));
    const letters = await deadLetters(at, store);
    expect(letters).toHaveLength(1);
    expect(letters[0]?.['reason']).toMatch(/record .* can not be read/);
  });

  test('do not come from us: half a character in an answer, a reply or an error ends its turn all the same', async () => {
    const store = at.open();
    const redis = at.redis();
    const half = '😀'.slice(0, 1);
    await work(at, store, (_ctx, text) => {
      if (text === 'throw') throw new Error(`cut ${half}`);
      return `cut ${half}`;
    });
    const failed = await send(store, 'throw');
    expect((await withStatus(store, failed, 'FAILED')).errorMessage).toBe('cut \ufffd');
    const answered = await send(store, `asked ${half}`);
    await withStatus(store, answered, 'COMPLETED');
    expect(await eventKinds(store, answered.sessionId)).toEqual(['final', 'end']);
    await redis.xadd(
      store.keys.ctrlStream(TYPE),
      '*',
      'data',
      ask({source_agent_type: 'boss', message_id: 'msg-1'}),
    );
    const [, fields] = await until(
      async () => (await redis.xrange(store.keys.ctrlStream('boss'), '-', '+'))[0],
    );
    expect(fields[1]).toContain('cut \\ufffd');
    expect((await recordOf(store, answered)).status).toBe('COMPLETED');
  });
});
