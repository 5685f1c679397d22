/** Cancelling: mark the execution and everything it started, and tell the workers that run them. Spec §8.4. */
import type {Clock} from '../clock.js';
import {newCancelMessageId} from '../ids.js';
import {encodeCommand, type CancelCommand} from '../protocol/commands.js';
import type {ExecutionRecord} from '../protocol/execution.js';
import {createHeader} from '../protocol/header.js';
import {isTerminal} from '../protocol/states.js';
import {markCancelled, sessionExecutions, type CancelVerdict} from '../store/executions.js';
import type {Store} from '../store/store.js';

export interface CancelRequest {
  readonly sessionId: string;
  /** One message and what it started; absent for the whole session. */
  readonly messageId?: string;
  readonly reason?: string;
  /** Stop waiting for the handler at once. Default: the handler is asked, and given time. */
  readonly force?: boolean;
  readonly requestedBy?: string;
}

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
  return request.messageId === undefined ? all : withDescendants(all, request.messageId);
}

export async function cancel(store: Store, now: Clock, request: CancelRequest): Promise<CancelResult> {
  const targets = await cancelTargets(store, request);
  const nodes: CancelledNode[] = [];
  for (const record of targets) {
    const marked = await markCancelled(store, record, request.reason ?? '', now());
    if (marked.verdict === 'cancelling' && marked.workerId !== '')
      await tellWorker(store, record, marked.workerId, request);
    nodes.push({
      executionId: record.executionId,
      messageId: record.messageId,
      agentType: record.targetAgentType,
      workerId: marked.workerId,
      result: marked.verdict,
    });
  }
  const finished = nodes.filter(node => node.result === 'finished' || node.result === 'missing').length;
  return {
    status:
      nodes.length === 0 ? 'NOT_FOUND' : finished === nodes.length ? 'ALREADY_FINISHED' : 'CANCEL_REQUESTED',
    sessionId: request.sessionId,
    cancelledCount: nodes.length - finished,
    alreadyFinishedCount: finished,
    nodes,
  };
}

/** The record of a message and all that descends from it, also through nodes that have ended. */
export function withDescendants(records: readonly ExecutionRecord[], messageId: string): ExecutionRecord[] {
  const children = new Map<string, ExecutionRecord[]>();
  for (const record of records) {
    if (record.parentMessageId === '') continue;
    children.set(record.parentMessageId, [...(children.get(record.parentMessageId) ?? []), record]);
  }
  const found: ExecutionRecord[] = records.filter(record => record.messageId === messageId);
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

async function tellWorker(
  store: Store,
  record: ExecutionRecord,
  workerId: string,
  request: CancelRequest,
): Promise<void> {
  if (isTerminal(record.status)) return;
  const command: CancelCommand = {
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
    targetWorkerId: workerId,
    reason: request.reason ?? '',
    requestedBy: request.requestedBy ?? 'client',
    cancelMode: request.force === true ? 'force' : 'graceful',
  };
  const stream = store.keys.workerCtrlStream(workerId);
  // A second CANCEL of the same execution does nothing, so a repeat after a lost reply is harmless.
  await store.commands.run(redis => redis.xadd(stream, '*', 'data', encodeCommand(command)), {
    retryForMs: 5000,
  });
}
