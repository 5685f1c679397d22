import {expect, test} from 'vitest';
import {decideRoute, unreadableRecords, type RouteFacts} from '../../src/availability/decide-route.js';
import {ROUTE_POLICIES} from '../../src/protocol/routing.js';

const offline: RouteFacts = {
  circuit: null,
  quota: null,
  fallback: null,
  online: false,
  fallbackOnline: false,
};
const open = JSON.stringify({state: 'OPEN', reason: 'maintenance'});
const spent = JSON.stringify({available: false});
const alt = JSON.stringify({selected_agent_type: 'alt'});

test.each(ROUTE_POLICIES)('%s: an open circuit comes first, then the quota, then being online', policy => {
  const all = {...offline, circuit: open, quota: spent, online: true};
  expect(decideRoute(all, policy)).toMatchObject({
    kind: 'reject',
    code: 'AGENT_CIRCUIT_OPEN',
    reason: 'maintenance',
  });
  expect(decideRoute({...all, circuit: null}, policy)).toMatchObject({
    kind: 'reject',
    code: 'TENANT_QUOTA_EXCEEDED',
  });
  expect(decideRoute({...offline, online: true}, policy)).toEqual({kind: 'deliver'});
});

test('a fallback that is online comes before waking', () => {
  const facts = {...offline, fallback: alt, fallbackOnline: true};
  expect(decideRoute(facts, 'WAKE_AND_WAIT')).toEqual({kind: 'deliver-to', agentType: 'alt'});
  expect(decideRoute({...facts, fallbackOnline: false}, 'WAKE_AND_WAIT')).toEqual({kind: 'wake-and-wait'});
});

test('with nobody online each policy does what it says', () => {
  expect(ROUTE_POLICIES.map(policy => decideRoute(offline, policy).kind)).toEqual([
    'reject',
    'deliver',
    'wake-and-wait',
    'queue',
    'queue',
  ]);
});

test('what can not be read is let through, or refused if the operator wants that; it is named either way', () => {
  for (const text of ['OPEN', '[]', '{"state":', 'null']) {
    const facts = {...offline, circuit: text, quota: text, fallback: text, online: true};
    expect(decideRoute(facts, 'FAIL_FAST')).toEqual({kind: 'deliver'});
    expect(decideRoute(facts, 'SEND_ANYWAY', 'refuse')).toMatchObject({code: 'AGENT_CIRCUIT_OPEN'});
    expect(decideRoute({...facts, circuit: null}, 'FAIL_FAST', 'refuse')).toMatchObject({
      code: 'TENANT_QUOTA_EXCEEDED',
    });
    expect(unreadableRecords(facts)).toEqual(['circuit', 'quota', 'fallback']);
  }
  const fine = {...offline, circuit: '{"state":"CLOSED"}', quota: '{}', online: true};
  expect(decideRoute(fine, 'FAIL_FAST', 'refuse')).toEqual({kind: 'deliver'});
  expect(unreadableRecords(fine)).toEqual([]);
});

test('a refusal says when another try makes sense, where the record has a lifetime', () => {
  expect(decideRoute({...offline, circuit: open, circuitMs: 1200}, 'FAIL_FAST')).toMatchObject({
    retryAfterMs: 1200,
  });
  expect(decideRoute({...offline, quota: spent, quotaMs: 7}, 'FAIL_FAST')).toMatchObject({retryAfterMs: 7});
  expect(decideRoute({...offline, circuit: open}, 'FAIL_FAST')).toMatchObject({retryAfterMs: null});
});

test('who is online and exhausted is waited for, or refused with the time; others are woken only if some are away', () => {
  const exhausted = {workers: 2, offline: 0, recoverMs: 60_000};
  const facts = {...offline, exhausted};
  expect(decideRoute(facts, 'FAIL_FAST')).toEqual({
    ...{kind: 'reject', code: 'AGENT_TYPE_EXHAUSTED', reason: '2 exhausted', retryAfterMs: 60_000},
  });
  expect(decideRoute(facts, 'SEND_ANYWAY')).toEqual({kind: 'deliver'});
  expect(decideRoute(facts, 'WAKE_AND_WAIT')).toEqual({kind: 'wait-for-recovery', exhausted});
  expect(decideRoute(facts, 'WAKE_AND_QUEUE')).toEqual({kind: 'queue', wake: false});
  expect(decideRoute(facts, 'QUEUE_ONLY')).toEqual({kind: 'queue', wake: false});

  const mixed = {...offline, exhausted: {...exhausted, offline: 1}};
  expect(decideRoute(mixed, 'FAIL_FAST')).toMatchObject({reason: '2 exhausted, 1 offline'});
  expect(decideRoute(mixed, 'WAKE_AND_WAIT')).toEqual({kind: 'wake-and-wait'});
  expect(decideRoute(mixed, 'WAKE_AND_QUEUE')).toEqual({kind: 'queue', wake: true});
  expect(decideRoute(mixed, 'QUEUE_ONLY')).toEqual({kind: 'queue', wake: false});

  const standIn = {...facts, fallback: alt, fallbackOnline: true};
  expect(decideRoute(standIn, 'FAIL_FAST')).toEqual({kind: 'deliver-to', agentType: 'alt'});
  expect(decideRoute({...facts, circuit: open}, 'FAIL_FAST')).toMatchObject({code: 'AGENT_CIRCUIT_OPEN'});
});
