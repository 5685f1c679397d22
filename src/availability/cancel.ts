/** Cancelling an execution and everything it started, also what it starts meanwhile. Spec §8.4. */
import type {Clock} from '../clock.js';
import type {ExecutionRecord} from '../protocol/execution.js';
import {sessionExecutions} from '../store/executions.js';
import {stopExecution, type StopVerdict} from '../store/stop.js';
import type {Store} from '../store/store.js';

export interface CancelRequest {
  readonly sessionId: string;
  /** One message and what it started; absent for the whole session. */
  readonly messageId?: string;
  readonly reason?: string;
  /**
   * End what runs here and now: nothing it writes afterwards is accepted. Default: the handler is asked, and given time.
   * What a worker of another SDK runs can only be asked.
   */
  readonly force?: boolean;
  readonly requestedBy?: string;
}

/**
 * - `cancelled`: it has ended.
 * - `cancelling`: its worker was told to stop it; of what nobody has begun, that it must not begin.
 * - `finished`: it had ended before.
 * - `missing`: it is gone.
 */
export type CancelVerdict = 'missing' | 'finished' | 'cancelled' | 'cancelling';

export interface CancelledNode {
  readonly executionId: string;
  readonly messageId: string;
  readonly agentType: string;
  readonly workerId: string;
  readonly result: CancelVerdict;
}

export interface CancelResult {
  /** NOT_FOUND: nothing of that name. ALREADY_FINISHED: all of it had ended. */
  readonly status: 'CANCEL_REQUESTED' | 'ALREADY_FINISHED' | 'NOT_FOUND';
  readonly sessionId: string;
  readonly cancelledCount: number;
  readonly alreadyFinishedCount: number;
  readonly nodes: readonly CancelledNode[];
}

/** What a cancel would touch, parents before children. */
export async function cancelTargets(store: Store, request: CancelRequest): Promise<ExecutionRecord[]> {
  const all = await sessionExecutions(store, request.sessionId);
  return request.messageId === undefined ? all : withDescendants(all, new Set([request.messageId]));
}

/** Foreign senders may add children for ever; what they add later is stopped when a worker takes it. */
const MAX_ROUNDS = 10;

export async function cancel(store: Store, now: Clock, request: CancelRequest): Promise<CancelResult> {
  return cancelAll(store, now, {...request, tell: true}, await cancelTargets(store, request));
}

/** Cancel several messages of a session, each with what it started, as the agent that called them. Safe to repeat. */
export async function cancelCalls(
  store: Store,
  now: Clock,
  {
    messageIds,
    ...request
  }: Required<Pick<CancelRequest, 'sessionId' | 'reason' | 'requestedBy'>> & {
    readonly messageIds: readonly string[];
  },
): Promise<void> {
  const all = await sessionExecutions(store, request.sessionId);
  const targets = withDescendants(all, new Set(messageIds));
  await cancelAll(store, now, {...request, tell: 'where-allowed'}, targets);
}

type Wanted = Omit<CancelRequest, 'messageId'> & {readonly tell: true | 'where-allowed'};

async function cancelAll(
  store: Store,
  now: Clock,
  request: Wanted,
  first: readonly ExecutionRecord[],
): Promise<CancelResult> {
  const nodes = new Map<string, CancelledNode>();
  let targets = first;
  for (let round = 0; targets.length > 0 && round < MAX_ROUNDS; round++) {
    for (const record of targets) nodes.set(record.executionId, await cancelOne(store, now, request, record));
    // A child may have been sent between the look and the mark of its parent. Now that it is marked no more can be.
    const all = await sessionExecutions(store, request.sessionId);
    const marked = new Set([...nodes.values()].map(({messageId}) => messageId));
    targets = withDescendants(all, marked).filter(({executionId}) => !nodes.has(executionId));
  }
  const results = [...nodes.values()];
  const finished = results.filter(({result}) => result === 'finished' || result === 'missing').length;
  return {
    status:
      results.length === 0
        ? 'NOT_FOUND'
        : finished === results.length
          ? 'ALREADY_FINISHED'
          : 'CANCEL_REQUESTED',
    sessionId: request.sessionId,
    cancelledCount: results.length - finished,
    alreadyFinishedCount: finished,
    nodes: results,
  };
}

async function cancelOne(
  store: Store,
  now: Clock,
  request: Wanted,
  record: ExecutionRecord,
): Promise<CancelledNode> {
  const {reason = '', force = false, requestedBy = 'client', tell} = request;
  const {verdict, workerId} = await stopExecution(
    store,
    record,
    {kind: 'cancel', reason, force, requestedBy, tell},
    now(),
  );
  return {
    executionId: record.executionId,
    messageId: record.messageId,
    agentType: record.targetAgentType,
    workerId,
    result: RESULTS[verdict],
  };
}

/** A cancel has nothing to do with deadlines. */
const RESULTS: Readonly<Record<StopVerdict, CancelVerdict>> = {
  missing: 'missing',
  finished: 'finished',
  ended: 'cancelled',
  stopping: 'cancelling',
  running: 'cancelling',
  early: 'cancelling',
};

/** The records of these messages and all that descends from them, also through nodes that have ended. */
export function withDescendants(
  records: readonly ExecutionRecord[],
  messageIds: ReadonlySet<string>,
): ExecutionRecord[] {
  const children = new Map<string, ExecutionRecord[]>();
  for (const record of records) {
    if (record.parentMessageId === '') continue;
    children.set(record.parentMessageId, [...(children.get(record.parentMessageId) ?? []), record]);
  }
  const found: ExecutionRecord[] = records.filter(record => messageIds.has(record.messageId));
  const seen = new Set(found.map(record => record.executionId));
  for (const record of found) {
    for (const child of children.get(record.messageId) ?? []) {
      if (seen.has(child.executionId)) continue;
      seen.add(child.executionId);
      found.push(child);
    }
  }
  return found;
}
