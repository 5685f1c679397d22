/** Stopping an execution from outside the attempt that runs it: a cancel, or a deadline that has passed. */
import {ByError} from '../errors.js';
import {newCancelMessageId, newEventId} from '../ids.js';
import {encodeCommand} from '../protocol/commands.js';
import {deadlineText} from '../protocol/deadline.js';
import {parseConsumerName, isDeadConsumer} from '../protocol/consumers.js';
import {encodeEvent, endOfStreamEvent, EVENT_TYPES} from '../protocol/events.js';
import {decodeRecord, type ExecutionRecord} from '../protocol/execution.js';
import {createHeader} from '../protocol/header.js';
import {SESSION_TTL_S} from '../protocol/keys.js';
import {noAnswer} from '../protocol/reply.js';
import type {TaskResult} from '../protocol/results.js';
import {TERMINAL_STATES} from '../protocol/states.js';
import {encodeOutboxItem, flushOutbox, forgetOutbox, noteOutbox, type OutboxItem} from './outbox.js';
import {liveLeases} from './recovery.js';
import {replyFor} from './replies.js';
import {defineScript, texts} from './script.js';
import type {Store} from './store.js';

const stopScript = defineScript({
  file: 'stop.lua',
  before: ['records.lua'],
  keys: ['registry', 'events', 'reply', 'tell'],
  args: [
    'executionId',
    'mode',
    'reason',
    'nowMs',
    'patch',
    'deadOwner',
    'endEvent',
    'endType',
    'replyDocument',
    'tellDocument',
    'told',
    'ttlS',
    'terminal',
  ],
  reply: texts,
});

/** Why it is to stop. */
export type Stop =
  | {
      readonly kind: 'cancel';
      readonly reason: string;
      /** End what runs here and now; else it is asked to stop. */
      readonly force: boolean;
      readonly requestedBy: string;
      /**
       * Whether the worker is to be told; false for the worker itself, which knows. `where-allowed`: if our Redis user may
       * write to its stream, as workers' users may to those of their own fleet only.
       */
      readonly tell: boolean | 'where-allowed';
    }
  | {readonly kind: 'deadline'};

/**
 * - `missing`: no such execution.
 * - `finished`: it had ended before.
 * - `ended`: it has ended now, with its event or its reply.
 * - `stopping`: a cancel is marked, and the worker that runs it was told.
 * - `running`: its deadline is the business of the worker that runs it.
 * - `early`: its deadline has not passed.
 */
export type StopVerdict = 'missing' | 'finished' | 'ended' | 'stopping' | 'running' | 'early';

/** Every change of an execution makes its record be looked at again; more than a few in a row are no accident. */
const MAX_LOOKS = 20;
const RETRY = {retryForMs: 5000};
/** In place of a worker id: nobody is to be told. */
const NOBODY = '*';

/**
 * Stop one execution: one step on a single server; in a Cluster reply and word to the worker go through the outbox.
 *
 * @param record as it was seen; it may have changed since.
 * @param nowMs for the record's timestamps.
 */
export async function stopExecution(
  store: Store,
  record: ExecutionRecord,
  stop: Stop,
  nowMs: number,
): Promise<{readonly verdict: StopVerdict; readonly workerId: string}> {
  let seen = record;
  for (let look = 0; look < MAX_LOOKS; look++) {
    const [verdict = '', workerId = '', text = ''] = await attempt(store, seen, stop, nowMs);
    if (verdict !== 'compose') return {verdict: verdict as StopVerdict, workerId};
    seen = decodeRecord(text) ?? seen;
  }
  throw new Error(`execution ${record.executionId} changes faster than it can be stopped`);
}

async function attempt(store: Store, record: ExecutionRecord, stop: Stop, nowMs: number): Promise<string[]> {
  const {keys} = store;
  const {sessionId} = record;
  const [deadOwner, reply, tells] = await Promise.all([
    goneOwner(store, record),
    replyFor(store, record, resultOf(stop)),
    mayTell(store, record, stop),
  ]);
  const tell = stop.kind === 'cancel' && tells ? wordToWorker(store, record, stop) : undefined;
  const isCluster = await store.commands.isCluster();
  const outbox = keys.sessionOutbox(sessionId);
  const registry = keys.sessionRegistry(sessionId);
  const document = (item: OutboxItem | undefined) =>
    item === undefined ? '' : isCluster ? encodeOutboxItem(item) : item.document;
  const stream = (item: OutboxItem | undefined) =>
    item === undefined ? registry : isCluster ? outbox : item.stream;
  const note = isCluster && (reply ?? tell) !== undefined ? await noteOutbox(store, sessionId) : undefined;
  const answer = await stopScript(
    store.commands,
    {
      keys: {registry, events: keys.sessionDataStream(sessionId), reply: stream(reply), tell: stream(tell)},
      args: {
        executionId: record.executionId,
        mode: stop.kind === 'deadline' ? 'deadline' : stop.force ? 'force' : 'graceful',
        reason: stop.kind === 'cancel' ? stop.reason : '',
        nowMs,
        patch: JSON.stringify(patchOf(stop)),
        deadOwner,
        endEvent: encodeEvent(endOf(record, nowMs)),
        endType: EVENT_TYPES.appStreamResponse,
        replyDocument: document(reply),
        tellDocument: document(tell),
        told: tells ? record.workerId : NOBODY,
        ttlS: SESSION_TTL_S,
        terminal: JSON.stringify([...TERMINAL_STATES]),
      },
    },
    RETRY,
  );
  if (note !== undefined) {
    await flushOutbox(store, sessionId);
    await forgetOutbox(store, note).catch(() => undefined);
  }
  return answer;
}

async function mayTell(store: Store, {workerId}: ExecutionRecord, stop: Stop): Promise<boolean> {
  if (stop.kind !== 'cancel') return false;
  if (stop.tell !== 'where-allowed' || workerId === '') return stop.tell !== false;
  try {
    // Who may write there may also look.
    await store.commands.run(redis => redis.xlen(store.keys.workerCtrlStream(workerId)), RETRY);
    return true;
  } catch (error) {
    if (error instanceof ByError && error.code === 'REDIS_AUTH') return false;
    throw error;
  }
}

/** The holder of the fence, if its process is gone; '' if it lives or nobody holds it. */
async function goneOwner(store: Store, record: ExecutionRecord): Promise<string> {
  const owner = record.extra['x_owner'];
  if (typeof owner !== 'string' || owner === '') return '';
  return (await isOwnerGone(store, owner)) ? owner : '';
}

/** Whether the process that holds a fence is gone. */
export async function isOwnerGone(store: Store, owner: string): Promise<boolean> {
  const name = parseConsumerName(owner);
  return isDeadConsumer(name, (await liveLeases(store, [name.workerId])).get(name.workerId), false);
}

/** What a record says when it ends by this. */
function patchOf(stop: Stop): Readonly<Record<string, unknown>> {
  if (stop.kind === 'cancel') return {status: 'CANCELLED'};
  return {status: 'FAILED', error_code: 'DEADLINE_EXCEEDED', error_message: deadlineText()};
}

function resultOf(stop: Stop): TaskResult {
  if (stop.kind === 'cancel') return noAnswer('CANCELLED', {reason: stop.reason});
  return noAnswer('FAILED', {error: deadlineText()});
}

function endOf(record: ExecutionRecord, nowMs: number) {
  return endOfStreamEvent({
    traceId: record.traceId,
    sessionId: record.sessionId,
    sourceAgentType: record.targetAgentType,
    messageId: record.messageId,
    parentMessageId: record.parentMessageId,
    subAgent: false,
    now: () => nowMs,
    newEventId,
  });
}

function wordToWorker(
  store: Store,
  record: ExecutionRecord,
  stop: Extract<Stop, {kind: 'cancel'}>,
): OutboxItem | undefined {
  if (record.workerId === '') return undefined;
  const document = encodeCommand({
    action: 'CANCEL_TASK',
    header: createHeader({
      messageId: newCancelMessageId(),
      sessionId: record.sessionId,
      traceId: record.traceId,
      targetAgentType: record.targetAgentType,
      parentMessageId: record.messageId,
    }),
    targetMessageId: record.messageId,
    targetExecutionId: record.executionId,
    targetWorkerId: record.workerId,
    reason: stop.reason,
    requestedBy: stop.requestedBy,
    cancelMode: stop.force ? 'force' : 'graceful',
  });
  return {stream: store.keys.workerCtrlStream(record.workerId), document};
}
