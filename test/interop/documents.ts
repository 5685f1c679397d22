/**
 * Finds every document of the protocol inside a row of a live vector, whatever it is nested in, and checks that we
 * read it, and that writing it again gives what it was, apart from the differences spec §10 tells us to make.
 */
import {expect} from 'vitest';
import {z} from 'zod';
import {commandToWire, decodeCommand} from '../../src/protocol/commands.js';
import {decodeDeadLetter} from '../../src/protocol/deadletter.js';
import {decodePendingDelivery, PendingDelivery} from '../../src/protocol/delivery.js';
import {encodeServiceInstance, readServiceInstance} from '../../src/protocol/discovery.js';
import {CONTENT_TYPES, decodeEvent, encodeEvent, EVENT_TYPES} from '../../src/protocol/events.js';
import {executionSnapshot, recordFromWire, recordToWire} from '../../src/protocol/execution.js';
import {createKeys} from '../../src/protocol/keys.js';
import {ProtocolError} from '../../src/protocol/limits.js';
import {encodeHistoryPoint, readHistoryPoint} from '../../src/protocol/metrics.js';
import {decodePresence, encodePresence} from '../../src/protocol/presence.js';
import {encodeReloadAck, readReloadAck} from '../../src/protocol/reload.js';
import {
  CancelSessionResponse,
  CancelTaskResponse,
  ReloadResponse,
  SendResponse,
} from '../../src/protocol/send-response.js';
import {spanFromWire, spanToWire} from '../../src/protocol/trace.js';
import {
  decodeWakeupDecision,
  decodeWakeupRequest,
  WakeupDecision,
  WakeupRequest,
} from '../../src/protocol/wakeup.js';
import {type Doc} from './vectors.js';

/** How many documents of each kind a row holds. */
export type Tally = Map<string, number>;

interface Kind {
  readonly name: string;
  readonly has: readonly string[];
  readonly lacks?: readonly string[];
  readonly check: (doc: Doc) => void;
}

/** The first kind whose keys fit is the document's. */
const KINDS: readonly Kind[] = [
  {name: 'command', has: ['action_type', 'header'], check: checkCommand},
  {name: 'event', has: ['event_type', 'trace_id', 'session_id', 'data'], check: checkEvent},
  {name: 'event-summary', has: ['event_type', 'contentType', 'content'], check: checkEventSummary},
  {name: 'span', has: ['span_id', 'operation', 'duration_ms'], check: checkSpan},
  {name: 'record', has: ['execution_id', 'message_id', 'status', 'timeline', 'created_at'], check: checkRecord},
  {name: 'snapshot', has: ['execution_id', 'redis_message_id', 'agent_config_audit', 'status'], check: checkSnapshot},
  {name: 'wakeup-request', has: ['policy', 'timeout_ms', 'command_payload'], lacks: ['delivery_stream', 'queued_at'], check: roundTrip(decodeWakeupRequest, WakeupRequest)},
  {name: 'pending-delivery', has: ['delivery_stream', 'command_payload'], check: roundTrip(decodePendingDelivery, PendingDelivery)},
  {name: 'wakeup-decision', has: ['worker_ids', 'selected_agent_type', 'status'], check: checkDecision},
  {name: 'cancel-session-response', has: ['success', 'session_id', 'cancelled_count'], check: response(CancelSessionResponse)},
  {name: 'cancel-response', has: ['success', 'message_id', 'cancelled_count'], check: response(CancelTaskResponse)},
  {name: 'send-response', has: ['success', 'message_id', 'trace_id', 'status'], check: response(SendResponse)},
  {name: 'reload-ack', has: ['reload_id', 'worker_id', 'status'], check: checkReloadAck},
  {name: 'reload-response', has: ['reload_id', 'worker_ids', 'dispatched_count'], check: response(ReloadResponse)},
  {name: 'presence', has: ['version', 'token', 'last_seen'], check: checkPresence},
  {name: 'service-instance', has: ['id', 'host', 'port'], lacks: ['last_heartbeat'], check: checkInstance},
  {name: 'history-point', has: ['generated_at', 'queue_depth_total'], check: checkHistoryPoint},
]; // prettier-ignore

/** @returns what was found; empty if the row holds no data of ours. */
export function checkDocuments(value: unknown): Tally {
  const tally: Tally = new Map();
  walk(value, tally);
  return tally;
}

function walk(value: unknown, tally: Tally): void {
  if (typeof value === 'string') walkText(value, tally);
  if (typeof value !== 'object' || value === null) return;
  if (!Array.isArray(value)) identify(value as Doc, tally);
  for (const [key, item] of Object.entries(value)) {
    if (!Array.isArray(value)) walkText(key, tally);
    walk(item, tally);
  }
}

function identify(doc: Doc, tally: Tally): void {
  const kind = KINDS.find(
    ({has, lacks = []}) =>
      has.every(key => Object.hasOwn(doc, key)) && !lacks.some(key => Object.hasOwn(doc, key)),
  );
  if (!kind) return;
  kind.check(doc);
  count(tally, kind.name);
}

function walkText(text: string, tally: Tally): void {
  if (/^(byai_gateway|by_framework):[\w{:]/.test(text) && !text.startsWith('byai_gateway:consumer_group:')) {
    expect(isKeyOfOurs(text), `unknown key ${text}`).toBe(true);
    count(tally, 'key');
  }
  if (!text.startsWith('{')) return;
  let doc: unknown;
  try {
    doc = JSON.parse(text);
  } catch {
    return; // Vectors hold texts of other kinds, such as Python literals.
  }
  walk(doc, tally);
}

const count = (tally: Tally, name: string) => tally.set(name, (tally.get(name) ?? 0) + 1);

// The differences we make on purpose.

/** Empty extra payloads are left out (C2), content that is null is '' (C3), a bare object is a list of one. */
export function commandAsWeWrite(doc: Doc): Doc {
  const body = {...(doc['body'] as Record<string, unknown> | undefined)};
  const header = {...(doc['header'] as Record<string, unknown>)};
  const extra = body['extra_payload'];
  if (extra === null || (typeof extra === 'object' && Object.keys(extra).length === 0))
    delete body['extra_payload'];
  if (body['content'] === null) body['content'] = '';
  if (typeof body['content'] === 'object' && !Array.isArray(body['content']))
    body['content'] = [body['content']];
  header['metadata'] ??= {};
  return {action_type: doc['action_type'], header, body};
}

function checkCommand(doc: Doc): void {
  if (doc['action_type'] === 'NOPE') {
    expect(() => decodeCommand(doc)).toThrow(ProtocolError);
    return;
  }
  const written = commandToWire(decodeCommand(doc, {messageId: () => '', traceId: () => ''}));
  expect(written).toEqual(commandAsWeWrite(doc));
}

/** The keys every event has; Java omits some, writes null for others, and adds one (C12). */
const EVENT_DEFAULTS: Doc = {
  source_agent_type: '',
  message_id: '',
  parent_message_id: '',
  data: {},
  state_msg: '',
  artifact_url: '',
  metadata: {},
};

function checkEvent(doc: Doc): void {
  const written = JSON.parse(encodeEvent(decodeEvent(doc, () => 77))) as Doc;
  const known = Object.keys({...EVENT_DEFAULTS, trace_id: 0, session_id: 0, event_type: 0, timestamp: 0});
  const kept = Object.entries(doc).filter(([key, value]) => known.includes(key) && value !== null);
  expect(written).toEqual({timestamp: 77, ...EVENT_DEFAULTS, ...Object.fromEntries(kept)});
}

function checkEventSummary(doc: Doc): void {
  expect(Object.values(EVENT_TYPES)).toContain(doc['event_type']);
  expect(Object.values(CONTENT_TYPES)).toContain(doc['contentType']);
}

function checkSpan(doc: Doc): void {
  expect(spanToWire(spanFromWire(doc))).toEqual({
    name: doc['operation'],
    tokens: {},
    cost: {},
    metadata: {},
    ...doc,
  });
}

/** Fields we always write; other SDKs leave some out. */
const RECORD_DEFAULTS: Doc = {
  trace_id: '',
  parent_message_id: '',
  source_agent_type: '',
  target_agent_type: '',
  stream_name: '',
  started_at: 0,
  finished_at: 0,
};

function checkRecord(doc: Doc): void {
  const {worker_id: workerId, ...rest} = doc;
  const expected = {
    ...RECORD_DEFAULTS,
    ...rest,
    ...(workerId === '' || workerId === undefined ? {} : {worker_id: workerId}),
  };
  expect(recordToWire(recordFromWire(doc))).toEqual(expected);
}

function checkSnapshot(doc: Doc): void {
  // Dashboards add latencies to the thirty keys.
  const {queue_latency_ms: _queue, run_latency_ms: _run, total_latency_ms: _total, ...snapshot} = doc;
  expect(executionSnapshot(recordFromWire(doc))).toEqual(snapshot);
}

function checkDecision(doc: Doc): void {
  roundTrip(decodeWakeupDecision, WakeupDecision)(doc);
  if (doc['status'] === 'FAILED') {
    const letter = decodeDeadLetter(doc);
    expect(letter).toMatchObject({
      executionId: doc['execution_id'],
      reason: doc['reason'],
      replayable: 'no-payload',
    });
  }
}

/** Reading and writing keeps every key we write; keys other SDKs add are dropped, numbers in texts become numbers. */
function roundTrip<T extends Record<string, unknown>>(decode: (doc: unknown) => T, schema: z.ZodType<T>) {
  return (doc: Doc) => {
    const written = z.encode(schema, decode(doc)) as Doc;
    for (const [key, value] of Object.entries(written)) {
      const original = doc[key];
      if (original === undefined) continue;
      expect(value, key).toEqual(typeof value === 'number' ? Number(original) : original);
    }
  };
}

function response(schema: z.ZodType<Record<string, unknown>>) {
  return roundTrip(doc => z.decode(schema, doc as Record<string, unknown>), schema);
}

function checkReloadAck(doc: Doc): void {
  expect(JSON.parse(encodeReloadAck(readReloadAck(JSON.stringify(doc))))).toEqual(doc);
}

function checkPresence(doc: Doc): void {
  const {token, lastSeen, ipAddress, legacy, online} = decodePresence(JSON.stringify(doc));
  expect(legacy).toBe(false);
  expect(online).toBe(Number(doc['last_seen']) > 0);
  expect(JSON.parse(encodePresence({token, lastSeen, ipAddress}))).toEqual({ip_address: '', ...doc});
}

function checkInstance(doc: Doc): void {
  const expected = {protocol: 'http', path_prefix: null, weight: 1, metadata: {}, ...doc};
  expect(JSON.parse(encodeServiceInstance(readServiceInstance(JSON.stringify(doc))))).toEqual(expected);
}

function checkHistoryPoint(doc: Doc): void {
  expect(JSON.parse(encodeHistoryPoint(readHistoryPoint(JSON.stringify(doc))))).toMatchObject(doc);
}

/** Every name a key can have, both schemas, with any ids. */
const KEY_PATTERNS: readonly RegExp[] = (['v1', 'v2'] as const).flatMap(schema => {
  const {
    schema: _schema,
    prefix: _prefix,
    tsTrace,
    workerIdOfLease: _lease,
    workerIdOfAdmin: _admin,
    agentTypeOfDenied: _denied,
    agentTypeOfOnCall: _onCall,
    sessionIdOfRegistry: _session,
    sessionIdOfHistory: _history,
    ...named
  } = createKeys({schema});
  const makers: ((...ids: string[]) => string)[] = [...Object.values(named), ...Object.values(tsTrace)];
  return makers.map(make => {
    const [first = '', ...rest] = make('\0', '\0', '\0').split('\0');
    return new RegExp(`^${[first, ...rest].map(escape).join('.+')}$`);
  });
});

const isKeyOfOurs = (key: string) => KEY_PATTERNS.some(pattern => pattern.test(key));

function escape(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
}
