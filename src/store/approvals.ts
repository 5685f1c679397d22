/**
 * Calls that wait for a person's word, and what was allowed for good. A worker asks, a person decides, the worker looks;
 * who decides first wins.
 */
import {ByError} from '../errors.js';
import {
  AllowEntry,
  Approval,
  decidedState,
  type ApprovalState,
  type Decision,
} from '../protocol/orchestration/approval.js';
import {newOrchestrationId} from '../protocol/orchestration/ids.js';
import {readRecord, writeRecord} from '../protocol/orchestration/record.js';
import {RECORD_TTL_S} from '../protocol/orchestration/retention.js';
import {Change, commit, type Workspace} from './orchestration.js';
import {serverNowMs} from './store.js';

const RETRY = {retryForMs: 5000};

/** What is asked; the rest is filled in. */
export type ApprovalRequest = Omit<Approval, 'approvalId' | 'state' | 'createdAt' | 'expiresAt'>;

/** @param waitMs how long a person has. */
export async function askApproval(
  workspace: Workspace,
  request: ApprovalRequest,
  waitMs: number,
): Promise<Approval> {
  const {keys, name: w} = workspace;
  const nowMs = await serverNowMs(workspace.store);
  const approval: Approval = {
    ...request,
    ...{approvalId: newOrchestrationId('approval', nowMs), state: 'pending'},
    ...{createdAt: nowMs, expiresAt: nowMs + waitMs},
  };
  const {approvalId, runId, expiresAt} = approval;
  const key = keys.orchApproval(w, approvalId);
  const ofRun = keys.orchRunApprovals(w, runId);
  const change = new Change(key)
    .unlessThere(key)
    .write('HSET', key, 'doc', writeRecord(Approval, approval), 'state', approval.state)
    .write('EXPIRE', key, RECORD_TTL_S)
    .write('ZADD', keys.orchPendingApprovals(w), expiresAt, approvalId)
    .write('ZADD', ofRun, approval.createdAt, approvalId)
    .write('EXPIRE', ofRun, RECORD_TTL_S);
  // The only way to find it there is that this very write was made.
  await commit(workspace, change);
  return approval;
}

export async function readApproval(
  {store, keys, name: w}: Workspace,
  approvalId: string,
): Promise<Approval | undefined> {
  const doc = await store.commands.run(redis => redis.hget(keys.orchApproval(w, approvalId), 'doc'), RETRY);
  return readRecord(Approval, doc ?? undefined);
}

/** Those of a run, oldest first, at most 200. */
export async function approvalsOfRun(workspace: Workspace, runId: string): Promise<Approval[]> {
  const {store, keys, name: w} = workspace;
  const ids = await store.commands.run(
    redis => redis.zrange(keys.orchRunApprovals(w, runId), '0', '199'),
    RETRY,
  );
  return readAll(workspace, ids);
}

/** What waits for a decision, what ends first at the beginning; at most 200. */
export async function pendingApprovals(workspace: Workspace): Promise<Approval[]> {
  const {store, keys, name: w} = workspace;
  const ids = await store.commands.run(
    redis => redis.zrange(keys.orchPendingApprovals(w), '0', '199'),
    RETRY,
  );
  return readAll(workspace, ids);
}

const readAll = async (workspace: Workspace, ids: readonly string[]): Promise<Approval[]> =>
  (await Promise.all(ids.map(id => readApproval(workspace, id)))).filter(found => found !== undefined);

export interface Verdict {
  readonly state: Exclude<ApprovalState, 'pending'>;
  readonly decidedBy?: string;
  readonly note?: string;
}

/**
 * End the waiting: a decision, or that its time has passed, or that nobody needs it any more.
 * @returns the approval as it is now, and whether it was this call that ended it.
 */
export async function settleApproval(
  workspace: Workspace,
  approvalId: string,
  {state, decidedBy, note}: Verdict,
): Promise<{readonly approval: Approval; readonly isOurs: boolean} | undefined> {
  const {keys, name: w} = workspace;
  const found = await readApproval(workspace, approvalId);
  if (found?.state !== 'pending') return found && {approval: found, isOurs: false};
  const nowMs = await serverNowMs(workspace.store);
  const approval: Approval = {
    ...found,
    // Whoever decides after the end of its time decides nothing.
    state: nowMs >= found.expiresAt && state !== 'cancelled' ? 'expired' : state,
    ...(decidedBy === undefined ? {} : {decidedBy}),
    ...(note === undefined || note === '' ? {} : {note}),
    decidedAt: nowMs,
  };
  const key = keys.orchApproval(w, approvalId);
  const change = new Change(key)
    .unlessChanged(key, 'state', 'pending')
    .write('HSET', key, 'doc', writeRecord(Approval, approval), 'state', approval.state)
    .write('ZREM', keys.orchPendingApprovals(w), approvalId);
  if (approval.state === 'allowed_always' && approval.pattern !== undefined) {
    const entry: AllowEntry = {addedBy: decidedBy ?? '', addedAt: nowMs, approvalId};
    change.write(
      'HSET',
      keys.orchAllowed(w, approval.agentType),
      approval.pattern,
      writeRecord(AllowEntry, entry),
    );
  }
  if (await commit(workspace, change)) return {approval, isOurs: approval.state === state};
  const now = await readApproval(workspace, approvalId);
  return now && {approval: now, isOurs: false};
}

/**
 * A person's decision.
 * @throws {ByError} APPROVAL_NOT_FOUND; APPROVAL_ALREADY_DECIDED with the winner; APPROVAL_EXPIRED; INVALID_INPUT for
 *   allow-always on what can only be allowed once.
 */
export async function decideApproval(
  workspace: Workspace,
  approvalId: string,
  decision: Decision,
  {by, note}: {readonly by: string; readonly note?: string | undefined},
): Promise<Approval> {
  const found = await readApproval(workspace, approvalId);
  if (found === undefined) {
    throw new ByError('APPROVAL_NOT_FOUND', `There is no approval "${approvalId.slice(0, 80)}".`, {
      hint: 'List what waits with `by run approve`.',
      next: ['by run approve'],
    });
  }
  if (decision === 'allow-always' && found.pattern === undefined) {
    throw new ByError('INVALID_INPUT', 'This can be allowed once, not always.', {
      hint:
        found.kind === 'run'
          ? 'A whole run is allowed with --once.'
          : `"${found.argv?.[0] ?? found.tool}" runs whatever it is told to: to allow it always would be to allow everything.`,
    });
  }
  const settled = await settleApproval(workspace, approvalId, {
    ...{state: decidedState(decision), decidedBy: by},
    ...(note === undefined ? {} : {note}),
  } as Verdict);
  const approval = settled?.approval ?? found;
  if (settled?.isOurs) return approval;
  const winner = approval.decidedBy === undefined ? '' : ` by ${approval.decidedBy}`;
  if (approval.state === 'expired')
    throw new ByError('APPROVAL_EXPIRED', 'Nobody decided in time.', {
      hint: 'What asked has gone on without it. It asks again when it is run again.',
      details: {approvalId, expiresAt: approval.expiresAt},
    });
  throw new ByError(
    'APPROVAL_ALREADY_DECIDED',
    `It is ${approval.state.replace('_', ' ')}${winner} already.`,
    {
      hint: 'The first decision counts.',
      details: {approvalId, state: approval.state, decidedBy: approval.decidedBy ?? ''},
    },
  );
}

export interface AllowedPattern extends AllowEntry {
  readonly pattern: string;
}

/** What an agent type may run without a question, in the order of the patterns. */
export async function allowedPatterns(
  {store, keys, name: w}: Workspace,
  agentType: string,
): Promise<AllowedPattern[]> {
  const entries = await store.commands.run(redis => redis.hgetall(keys.orchAllowed(w, agentType)), RETRY);
  return Object.entries(entries)
    .flatMap(([pattern, doc]) => {
      const entry = readRecord(AllowEntry, doc);
      return entry === undefined ? [] : [{...entry, pattern}];
    })
    .sort((a, b) => (a.pattern < b.pattern ? -1 : 1));
}

/** @returns false if it was not there. */
export function disallow(
  {store, keys, name: w}: Workspace,
  agentType: string,
  pattern: string,
): Promise<boolean> {
  return store.commands.run(
    async redis => (await redis.hdel(keys.orchAllowed(w, agentType), pattern)) === 1,
    RETRY,
  );
}

/** Allow for good, without anybody having asked. @throws {ByError} INVALID_INPUT for a pattern that allows nothing. */
export async function allow(
  workspace: Workspace,
  agentType: string,
  pattern: string,
  by: string,
): Promise<void> {
  if (!/^(?:\/|tool:.)/.test(pattern)) {
    throw new ByError('INVALID_INPUT', `"${pattern.slice(0, 100)}" would allow nothing.`, {
      hint: 'Write `tool:NAME`, or the absolute path of a program; * stands for any part of a name.',
    });
  }
  const {store, keys, name: w} = workspace;
  const entry: AllowEntry = {addedBy: by, addedAt: await serverNowMs(workspace.store)};
  await store.commands.run(
    redis => redis.hset(keys.orchAllowed(w, agentType), pattern, writeRecord(AllowEntry, entry)),
    RETRY,
  );
}
