import {describe, expect, test} from 'vitest';
import {GatewayClient} from '../../src/client/client.js';
import {newExecutionRecord} from '../../src/protocol/execution.js';
import {listSessions, sessionState, showSession} from '../../src/registry/sessions.js';
import {lastHeardMs} from '../../src/store/sessions.js';
import {describeEachStore} from '../support/stores.js';

const record = (status: string) =>
  newExecutionRecord({
    executionId: 'e',
    messageId: 'm',
    sessionId: 's',
    traceId: 't',
    sourceAgentType: 'client',
    targetAgentType: 'a',
    streamName: '',
    status,
    now: 1,
  });

describe('the state of a session', () => {
  test.each([
    [[], 'empty'],
    [['COMPLETED', 'FAILED'], 'ended'],
    [['COMPLETED', 'QUEUED'], 'queued'],
    [['QUEUED', 'WAITING_USER'], 'waiting'],
    [['WAITING_AGENT', 'CANCELLING'], 'cancelling'],
    [['CANCELLING', 'RUNNING', 'COMPLETED'], 'running'],
  ])('with executions %j is %s', (statuses, state) => {
    expect(sessionState(statuses.map(record))).toBe(state);
  });
});

describe('when a session was last heard of', () => {
  const facts = {sessionId: 's', events: 0, lastEventId: '', lastEventData: undefined, eventsTtlMs: -2};
  const week = 604_800_000;
  test('is its newest event, or its registry’s renewal, whichever is later', () => {
    const now = 2_000_000_000_000;
    expect(lastHeardMs({...facts, registryTtlMs: week - 5000}, now)).toBe(now - 5000);
    expect(lastHeardMs({...facts, registryTtlMs: week - 5000, lastEventId: `${now - 9}-3`}, now)).toBe(
      now - 9,
    );
    expect(lastHeardMs({...facts, registryTtlMs: 2 * week}, now)).toBe(now);
    expect(lastHeardMs({...facts, registryTtlMs: -1}, now)).toBe(0);
  });
});

describeEachStore('sessions', at => {
  test('are listed by what happened last, and counted beyond the limit', async () => {
    at.breaksRules('sessionDataStream');
    const store = at.open();
    const redis = at.redis();
    const client = new GatewayClient(store);
    for (const sessionId of ['one', 'two', 'three'])
      await client.send({agentType: 'echo', content: 'x', sessionId, policy: 'SEND_ANYWAY'});
    await redis.pexpire(store.keys.sessionRegistry('one'), 604_800_000 - 60_000);
    await redis.pexpire(store.keys.sessionRegistry('three'), 604_800_000 - 90_000);
    const listed = await listSessions(store, {limit: 2, look: 1_000_000});
    expect(listed).toMatchObject({
      found: 3,
      isComplete: true,
      sessions: [
        {sessionId: 'two', state: 'queued', executions: 1, open: 1, agentTypes: ['echo'], events: 0},
        {sessionId: 'one'},
      ],
    });
    // An event is news, however old the registry.
    await redis.xadd(store.keys.sessionDataStream('three'), '9999999999999-0', 'data', '{');
    const [first] = (await listSessions(store, {limit: 1, look: 1_000_000})).sessions;
    expect(first).toMatchObject({sessionId: 'three', events: 1, lastHeard: 9_999_999_999_999});
  });

  test('one is shown with its last event, also when that can not be read', async () => {
    at.breaksRules('sessionDataStream');
    const store = at.open();
    const redis = at.redis();
    const client = new GatewayClient(store);
    await client.send({agentType: 'echo', content: 'x', sessionId: 's', policy: 'SEND_ANYWAY'});
    expect(await showSession(store, 's')).toMatchObject({
      state: 'queued',
      records: [{status: 'QUEUED'}],
      lastEventId: '',
      eventsTtlMs: -2,
    });
    await redis.xadd(store.keys.sessionDataStream('s'), '5-1', 'data', 'nonsense');
    expect(await showSession(store, 's')).toMatchObject({
      lastEventId: '5-1',
      lastEvent: undefined,
      eventsTtlMs: -1,
    });
    expect(await showSession(store, 'nobody')).toBeUndefined();
  });
});
