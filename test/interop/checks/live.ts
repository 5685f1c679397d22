/**
 * Rows recorded from running programs: here only the data in them. What the programs did is the business of those
 * who run the same steps against ours (behavioural.ts).
 */
import {expect} from 'vitest';
import {assertSendable, hasContent, readCommandEntry} from '../../../src/protocol/commands.js';
import {decodePendingDelivery, PendingDelivery} from '../../../src/protocol/delivery.js';
import {readServiceInstance} from '../../../src/protocol/discovery.js';
import {
  canTransition,
  encodeRecord,
  execField,
  msgMapField,
  newExecutionRecord,
  type ExecutionRecord,
} from '../../../src/protocol/execution.js';
import {createKeys} from '../../../src/protocol/keys.js';
import {ProtocolError} from '../../../src/protocol/limits.js';
import {decodePresence, encodePresence} from '../../../src/protocol/presence.js';
import {
  AVAILABILITY_STATUSES,
  parseRoutePolicy,
  readCircuit,
  readFallback,
  readQuota,
} from '../../../src/protocol/routing.js';
import {
  decodeWakeupDecision,
  decodeWakeupRequest,
  keepsWaiting,
  WakeupDecision,
  WakeupRequest,
} from '../../../src/protocol/wakeup.js';
import {z} from 'zod';
import {ByError} from '../../../src/errors.js';
import {checkDocuments} from '../documents.js';
import {asDoc, at, failed, type Check, type Doc, type Family, type Row} from '../vectors.js';
import {commandsFamily, decodeJava} from './commands.js';
import {checkTypescriptEvent} from './events.js';
import {checkJavaNormalize, checkTypescriptNormalize} from './results.js';

/** Every document in the row is read and written again. There must be one: a row without is not covered by this. */
const documents: Check = row => {
  const tally = checkDocuments({input: row.input, expected: row.expected});
  expect([...tally.keys()], 'no document found').not.toEqual([]);
};

// Availability

const SDK_ERRORS: Readonly<Record<string, string>> = {
  circuit: 'AGENT_CIRCUIT_OPEN',
  quota: 'TENANT_QUOTA_EXCEEDED',
};

function checkRoute(row: Row): void {
  const {status, error, error_code: code, selected_agent_type: selected} = asDoc(at(row.expected, 'result'));
  expect(AVAILABILITY_STATUSES).toContain(status);
  const policy = at(row.input, 'intent', 'policy') as string;
  expect(parseRoutePolicy(policy)).toBe(policy === 'BOGUS' ? undefined : policy);
  for (const decision of at(row.input, 'decisions_already_on_result_stream') as Doc[]) {
    const read = decodeWakeupDecision(decision);
    expect(keepsWaiting(read)).toBe(['STARTING', 'QUEUED'].includes(decision['status'] as string));
  }
  checkDocuments({input: row.input, expected: row.expected});

  // The name of these rows holds the value of the key.
  const [, kind = '', value = ''] = /^route\.(circuit|quota|fallback_online) (.*)$/.exec(row.name) ?? [];
  if (kind === 'fallback_online') expect(readFallback(value)).toBe(selected);
  if (kind === 'circuit' || kind === 'quota') {
    const {stops, reason} =
      kind === 'circuit'
        ? {stops: readCircuit(value).open, reason: readCircuit(value).reason}
        : {stops: !readQuota(value).available, reason: readQuota(value).reason};
    expect(stops).toBe(code === SDK_ERRORS[kind]);
    if (reason !== '') expect(reason).toBe(error);
  }
}

const DECODERS: Readonly<Record<string, (doc: unknown) => unknown>> = {
  WakeupRequest: doc => z.encode(WakeupRequest, decodeWakeupRequest(doc)),
  PendingDelivery: doc => z.encode(PendingDelivery, decodePendingDelivery(doc)),
  WakeupDecision: doc => z.encode(WakeupDecision, decodeWakeupDecision(doc)),
};

export const availabilityFamily: Family = {
  file: 'availability',
  checks: [
    [/^route\./, checkRoute],
    [/^decode\./, row => expect(DECODERS[row.name.split('.')[1] ?? '']?.(row.input)).toEqual(row.expected)],
    [/^controller\./, documents],
  ],
};

// Registry and executions

function checkPresence(row: Row): void {
  const {token, last_seen: lastSeen, legacy, ip_address: ipAddress, online} = asDoc(row.expected);
  expect(decodePresence(row.input as string | null)).toEqual({token, lastSeen, legacy, ipAddress, online});
}

export const registryFamily: Family = {
  file: 'registry',
  checks: [
    [/^presence\.decode$/, checkPresence],
    [
      /^presence\.encode$/,
      row => {
        const {
          token,
          last_seen: lastSeen,
          ip,
        } = row.input as {token: string | null; last_seen: number; ip: string};
        expect(encodePresence({token, lastSeen, ipAddress: ip})).toBe(row.expected);
      },
    ],
    [/./, documents],
  ],
};

/** The fields a row's record was made from, in our spelling. */
function newRecordOf(doc: Doc): ExecutionRecord {
  const field = (name: string) => (doc[name] ?? '') as string;
  return newExecutionRecord({
    executionId: field('execution_id'),
    messageId: field('message_id'),
    sessionId: field('session_id'),
    traceId: field('trace_id'),
    parentMessageId: field('parent_message_id'),
    sourceAgentType: field('source_agent_type'),
    targetAgentType: field('target_agent_type'),
    streamName: field('stream_name'),
    now: doc['created_at'] as number,
    route: {
      policy: field('route_policy'),
      status: field('route_status'),
      selectedAgentType: field('selected_agent_type'),
      errorCode: field('availability_error_code'),
      error: field('availability_error'),
    },
    ...(doc['error_code'] === undefined
      ? {}
      : {refusal: {errorCode: field('error_code'), errorMessage: field('error_message')}}),
  });
}

const newRecord: Check = row => {
  const registry = at(row.expected, 'redis', createKeys().sessionRegistry('sess-1'), 'value') as Record<
    string,
    Doc
  >;
  const [field = '', doc = {}] = Object.entries(registry).find(([name]) => name.startsWith('exec:')) ?? [];
  const record = newRecordOf(doc);
  expect(JSON.parse(encodeRecord(record))).toEqual(doc);
  expect(field).toBe(execField(record.executionId));
  expect(registry[msgMapField(record.messageId)]).toBe(record.executionId);
  documents(row);
};

export const executionsFamily: Family = {
  file: 'executions',
  checks: [
    [/^exec\.(1_initialize|record_failed_route_decision)$/, newRecord],
    [/./, documents],
  ],
};

export const clientFamily: Family = {file: 'client', checks: [[/^(send\.|read\.checkpoint)/, documents]]};

export const lifecycleFamily: Family = {file: 'lifecycle', checks: [[/./, documents]]};

// Entries of control streams

const dataOf = (row: Row) =>
  typeof row.input === 'string' ? row.input : (at(row.input, 'fields') as {data?: string}).data;

const poison: Check = row => expect(() => readCommandEntry(dataOf(row))).toThrow(ProtocolError);
const readable: Check = row => expect(() => readCommandEntry(dataOf(row))).not.toThrow();

export const controlFamily: Family = {
  file: 'control',
  checks: [
    [/^consume\..*\.(invalid_json|no_data_field|unknown_action_type)$/, poison],
    [
      /^consume\..*\.empty_content$/, // C3: read, so that it can be answered with FAILED.
      row => {
        const command = readCommandEntry(dataOf(row));
        expect(command.action === 'ASK_AGENT' && hasContent(command.content)).toBe(false);
        expect(() => assertSendable(command)).toThrow(ByError);
      },
    ],
    [
      /^consume\..*\.empty_message_id$/,
      row => expect(readCommandEntry(dataOf(row)).header.messageId).toMatch(/^msg-[0-9a-f]{8,}$/),
    ],
    [/^consume\./, readable],
    [/./, documents],
  ],
};

// Hazards: timelines another SDK produced. Ours would refuse the step that made each a hazard.

/** The steps of a timeline that our table of transitions does not have. */
const refusedSteps = (timeline: readonly string[]) =>
  timeline.slice(1).flatMap((to, index) => {
    const from = timeline[index] ?? '';
    return canTransition(from, to) ? [] : [`${from} -> ${to}`];
  });

const timelinesOf = (row: Row): string[][] => {
  const {timelines, planner_timeline: planner} = asDoc(row.expected);
  return Object.values((timelines ?? planner) as Record<string, string[]>);
};

const refusing =
  (...steps: string[]): Check =>
  row => {
    expect(timelinesOf(row).flatMap(refusedSteps)).toEqual(steps);
  };

export const hazardsFamily: Family = {
  file: 'hazards',
  checks: [
    [/^evict_with_running_task\./, refusing()],
    [/^direct_ask_blocks_cancel$/, refusing('COMPLETED -> CANCELLING')],
    [/^two_consumer_groups_duplicate_execution$/, refusing('COMPLETED -> COMPLETED')],
    [/^cancel_command_for_completed_execution$/, refusing('COMPLETED -> CANCELLING')],
    [/^reply_arrives_while_calling_turn_still_runs$/, refusing('COMPLETED -> WAITING_AGENT')],
    [
      /^user_resume_of_completed_execution$/,
      row => {
        refusing('COMPLETED -> RUNNING')(row);
        expect(canTransition('COMPLETED', 'RUNNING', 'user-resume')).toBe(true);
      },
    ],
    [/^call_agent_then_return_nothing$/, refusing('COMPLETED -> RUNNING')],
  ],
};

// The other SDKs

export const javaFamily: Family = {
  file: 'java_protocol',
  checks: [
    [/^normalize$/, checkJavaNormalize],
    // C1: Java refuses unknown keys; we ignore them.
    [
      /^decode\.ask_agent\.unknown_(header|body|top)_key$/,
      decodeJava.decodesTo({content: 'x', wait_for_reply: false}),
    ],
    [/^decode\.resume_worker\.unknown_body_key$/, decodeJava.decodesTo({})],
    [
      /^decode\.ask_agent\.no_message_id$/,
      row => expect(readCommandEntry(JSON.stringify(row.input)).header.messageId).not.toBe(''),
    ],
    [/^decode\.reload_plugins$/, decodeJava.accepted], // C8: Java does not know it.
    [
      /^decode\.cancel\.bad_mode_is_accepted$/, // C7
      row => expect(readCommandEntry(JSON.stringify(row.input))).toMatchObject({cancelMode: 'graceful'}),
    ],
    [/^decode\./, decodeJava.asTheSdk],
    [/^(encode|wakeup_decision|pending_delivery)\./, documents],
    [/^service_instance\.decode\.minimal$/, documents],
    [
      /^service_instance\.decode\.unknown_key$/, // Java refuses the instance; its row shows only the key.
      () =>
        expect(readServiceInstance('{"id":"a","host":"h","port":1,"zone":"a"}')).not.toHaveProperty('zone'),
    ],
  ],
};

const typescriptCommand: Check = row => {
  if (failed(row)) {
    checkNeverSent(row);
    return;
  }
  const {data} = at(row.expected, 'ok', 'stream_fields') as {data: string};
  assertSendable(readCommandEntry(data));
  documents(row);
};

/** The rows name the command only; commands.json holds the same three. */
function checkNeverSent(row: Row): void {
  const same: Readonly<Record<string, string>> = {
    'command.ask_blank': 'validate.ask_agent.blank_string',
    'command.resume_nothing': 'validate.resume.nothing',
    'command.cancel_bad': 'validate.cancel_task.bad_mode',
  };
  const name = same[row.name] ?? '';
  const [, check] = commandsFamily.checks.find(([pattern]) => pattern.test(name)) ?? [];
  expect(check).toBeDefined();
  check?.(row);
}

export const typescriptFamily: Family = {
  file: 'ts_sdk',
  checks: [
    [/^command\./, typescriptCommand],
    [/^decode\.reload$/, decodeJava.accepted], // C8
    [/^decode\.missing_header_fields$/, decodeJava.refused], // §3.2: without a session it is poison
    [/^decode\./, decodeJava.asTheSdk],
    [/^event\./, checkTypescriptEvent],
    [/^normalize\./, checkTypescriptNormalize],
    [/^consume\..*\.(invalid_json|unknown_action)$/, poison],
    [/^consume\..*\.reload_plugins$/, readable],
    [/./, documents],
  ],
};
