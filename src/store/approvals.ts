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
import {objectOf, textOf} from '../protocol/fields.js';
import {parseUntrustedObject, readable} from '../protocol/limits.js';
import {Change, commit, openWorkspace, type Workspace} from './orchestration.js';
import {serverNowMs, type Store} from './store.js';

const RETRY = {retryForMs: 5000};

/** What is asked; the rest is filled in. */
export type ApprovalRequest = Omit<
  Approval,
  'approvalId' | 'state' | 'createdAt' | 'expiresAt' | 'heard' | 'unclear'
>;

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

/** Those of a run, the newest 200, oldest first. */
export async function approvalsOfRun(workspace: Workspace, runId: string): Promise<Approval[]> {
  const {store, keys, name: w} = workspace;
  const ids = await store.commands.run(
    redis => redis.zrange(keys.orchRunApprovals(w, runId), '-200', '-1'),
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
  /** The answer that says so; kept with it, so that it is known when it comes again. */
  readonly heard?: string;
}

/**
 * End the waiting: a decision, or that its time has passed, or that nobody needs it any more.
 * @returns the approval as it is now, and whether it was this call that ended it.
 */
export async function settleApproval(
  workspace: Workspace,
  approvalId: string,
  {state, decidedBy, note, heard}: Verdict,
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
    ...(heard === undefined ? {} : {heard}),
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
  {by, note, heard}: {readonly by: string; readonly note?: string | undefined; readonly heard?: string},
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
    ...(heard === undefined ? {} : {heard}),
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

/** An answer that is no decision: whoever waits is to ask again. Of one that is decided nothing changes. */
export async function misheardApproval(
  workspace: Workspace,
  approval: Approval,
  unclear: string,
): Promise<void> {
  const key = workspace.keys.orchApproval(workspace.name, approval.approvalId);
  const change = new Change(key)
    .unlessChanged(key, 'state', 'pending')
    .write('HSET', key, 'doc', writeRecord(Approval, {...approval, unclear}));
  await commit(workspace, change);
}

/** Where the approvals of a message are, for whoever knows only its session and the message. */
export interface AskedBy {
  readonly workspace: string;
  readonly runId: string;
  /** `{execution}@{attempt}` that asked last. */
  readonly turn: string;
}

const askedField = (messageId: string): string => `x_asks:${messageId}`;

/** Note it beside the execution's record, whose lifetime it has. */
export async function noteAskedBy(
  store: Store,
  {sessionId, messageId}: {readonly sessionId: string; readonly messageId: string},
  {workspace, runId, turn}: AskedBy,
): Promise<void> {
  const registry = store.keys.sessionRegistry(sessionId);
  const doc = JSON.stringify({workspace, run_id: runId, turn});
  await store.commands.run(redis => redis.hset(registry, askedField(messageId), doc), RETRY);
}

/** @returns undefined if no turn of the message ever asked to be allowed something. */
export async function askedBy(
  store: Store,
  {sessionId, messageId}: {readonly sessionId: string; readonly messageId: string},
): Promise<AskedBy | undefined> {
  const registry = store.keys.sessionRegistry(sessionId);
  const text = await store.commands.run(redis => redis.hget(registry, askedField(messageId)), RETRY);
  if (text === null) return undefined;
  const doc = objectOf(readable(() => parseUntrustedObject(text)));
  return {workspace: textOf(doc['workspace']), runId: textOf(doc['run_id']), turn: textOf(doc['turn'])};
}

export interface MessageApprovals {
  readonly workspace: Workspace;
  /** What the message's turn waits for a person to allow, oldest first. */
  readonly open: readonly Approval[];
  /** Everything its run ever asked. */
  readonly all: readonly Approval[];
}

/** @returns undefined if no turn of the message ever asked to be allowed something. */
export async function approvalsOfMessage(
  store: Store,
  message: {readonly sessionId: string; readonly messageId: string},
): Promise<MessageApprovals | undefined> {
  const asked = await askedBy(store, message);
  if (asked === undefined) return undefined;
  const workspace = openWorkspace(store, asked.workspace);
  const ofRun = await approvalsOfRun(workspace, asked.runId);
  const all = ofRun.filter(({sessionId, kind}) => kind === 'tool' && sessionId === message.sessionId);
  return {workspace, all, open: all.filter(({state, turn}) => state === 'pending' && turn === asked.turn)};
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
