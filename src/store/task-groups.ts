/** Groups of calls: sent together, and joined one answer at a time. Spec §6.8. */
import type {Header} from '../protocol/header.js';
import {SESSION_TTL_S} from '../protocol/keys.js';
import {
  encodeGroupResult,
  GROUP_QUEUED,
  groupFields,
  isSuccess,
  MEMBER_FIELD,
  readGroupResult,
  type GroupResult,
  type NewTaskGroup,
} from '../protocol/task-group.js';
import {WAITING_FOR_GROUP} from '../protocol/states.js';
import {callerCancelled, fenced, type CallerFence} from './acceptance.js';
import {queueFull} from './depth.js';
import {encodeOutboxItem, flushOutbox, forgetOutbox, noteOutbox} from './outbox.js';
import {defineScript, flag, texts} from './script.js';
import type {Store} from './store.js';

const RETRY = {retryForMs: 10_000};

const openScript = defineScript({file: 'open-group.lua', keys: ['group'], args: ['ttlS'], reply: flag});

/** Open a group before its calls are sent. One that is open already stays as it is. */
export async function openGroup(store: Store, groupId: string, group: NewTaskGroup): Promise<void> {
  await openScript(
    store.commands,
    {
      keys: {group: store.keys.taskGroup(groupId)},
      // As long as the session: a member may wait for a person for days.
      args: {ttlS: SESSION_TTL_S},
      moreArgs: Object.entries(groupFields(group)).flat(),
    },
    RETRY,
  );
}

/** One call of a group, ready to be sent. */
export interface GroupCall {
  readonly executionId: string;
  readonly messageId: string;
  /** JSON of the execution record. */
  readonly record: string;
  readonly agentType: string;
  readonly document: string;
}

const dispatchScript = defineScript({
  file: 'dispatch-group.lua',
  before: ['cancelled.lua'],
  keys: ['registry'],
  args: ['caller', 'fence', 'ttlS', 'limit'],
  reply: texts,
});

/**
 * Send the calls of a group, all or none; those that an earlier try sent are not sent again. In a Cluster the steps of
 * outbox.ts.
 * @throws {ByError} QUEUE_FULL, PARENT_CANCELLED, FENCED.
 */
export async function sendGroup(
  store: Store,
  sessionId: string,
  caller: CallerFence,
  calls: readonly GroupCall[],
): Promise<void> {
  const {keys} = store;
  const isCluster = await store.commands.isCluster();
  const streams = calls.map(call => keys.ctrlStream(call.agentType));
  if (isCluster) await checkDepth(store, calls);
  const note = isCluster ? await noteOutbox(store, sessionId) : undefined;
  const outbox = keys.sessionOutbox(sessionId);
  const [verdict, detail = ''] = await dispatchScript(
    store.commands,
    {
      keys: {registry: keys.sessionRegistry(sessionId)},
      args: {
        caller: caller.executionId,
        fence: caller.fence,
        ttlS: SESSION_TTL_S,
        limit: isCluster ? 0 : store.limits.perAgentType,
      },
      moreKeys: isCluster ? calls.map(() => outbox) : streams,
      moreArgs: calls.flatMap((call, i) => [
        call.executionId,
        call.messageId,
        call.record,
        isCluster ? encodeOutboxItem({stream: streams[i] ?? '', document: call.document}) : call.document,
      ]),
    },
    RETRY,
  );
  if (note !== undefined) {
    await flushOutbox(store, sessionId);
    await forgetOutbox(store, note).catch(() => undefined);
  }
  if (verdict === 'fenced') throw fenced();
  if (verdict === 'stopped') throw callerCancelled(detail);
  if (verdict === 'full') throw queueFull(store, 'type', calls[Number(detail) - 1]?.agentType ?? '', '');
}

/** What the script looks at on one server, over several slots; senders at the same moment may pass the limit together. */
async function checkDepth(store: Store, calls: readonly GroupCall[]): Promise<void> {
  const types = [...new Set(calls.map(call => call.agentType))];
  const depths = await store.commands.run(
    redis => Promise.all(types.map(type => redis.xlen(store.keys.ctrlStream(type)))),
    RETRY,
  );
  const {perAgentType: limit} = store.limits;
  const full = types.find((_, i) => limit > 0 && (depths[i] ?? 0) >= limit);
  if (full !== undefined) throw queueFull(store, 'type', full, '');
}

const JOINS = ['none', 'stranger', 'waiting', 'done', 'rest', 'late'] as const;
/** What join-group.lua answers; its header says what each means. */
export type Join = (typeof JOINS)[number];

const joinScript = defineScript({
  file: 'join-group.lua',
  joins: true,
  keys: ['group', 'results'],
  args: ['member', 'result', 'success', 'ttlS'],
  reply: raw => JOINS.find(join => join === raw) ?? 'none',
});

/** Count a member's answer, once however often it is told. */
export function joinGroup(
  store: Store,
  groupId: string,
  answer: {readonly member: string; readonly result: GroupResult; readonly succeeded: boolean},
): Promise<Join> {
  return joinScript(
    store.commands,
    {
      keys: {group: store.keys.taskGroup(groupId), results: store.keys.taskGroupResults(groupId)},
      args: {
        member: answer.member,
        result: encodeGroupResult(answer.result),
        success: answer.succeeded ? '1' : '0',
        ttlS: SESSION_TTL_S,
      },
    },
    RETRY,
  );
}

const waitScript = defineScript({
  file: 'note-group-wait.lua',
  before: ['records.lua', 'resumed.lua'],
  joins: true,
  keys: ['registry'],
  args: ['messageId', 'from', 'to', 'nowMs', 'callee'],
  reply: flag,
});

/** Groups whose callers are shown to wait, as far as this process knows: their other answers change nothing. */
const shown = new WeakMap<Store, Set<string>>();
const MOST_SHOWN = 10_000;

function rememberShown(store: Store, groupId: string): void {
  const known = shown.get(store) ?? new Set();
  if (known.size >= MOST_SHOWN) known.clear();
  shown.set(store, known.add(groupId));
}

/** Show in the record of a caller that some of its group have answered. @param header of the RESUME that brought an answer. */
export async function noteGroupWait(
  store: Store,
  {sessionId, messageId, parentMessageId, taskGroupId}: Header,
  nowMs: number,
): Promise<void> {
  if (shown.get(store)?.has(taskGroupId) === true) return;
  const isShown = await waitScript(
    store.commands,
    {
      keys: {registry: store.keys.sessionRegistry(sessionId)},
      args: {messageId, from: GROUP_QUEUED, to: WAITING_FOR_GROUP, nowMs, callee: parentMessageId},
    },
    RETRY,
  );
  if (isShown) rememberShown(store, taskGroupId);
}

export interface GroupAnswer {
  /** Of the call. */
  readonly messageId: string;
  readonly result: GroupResult;
}

export interface GroupAnswers {
  /** Whether nothing more is waited for. */
  readonly isDone: boolean;
  /** In the order the calls were made, where that is known. */
  readonly answers: readonly GroupAnswer[];
  /** What is still to be cancelled, if anything is. */
  readonly rest?: GroupRest;
}

/** Calls of a group that is done without them. */
export interface GroupRest {
  /** Message ids of the calls that have not answered. */
  readonly missing: readonly string[];
  /** Message id of the call whose answer made the group done, and whether it was a success. */
  readonly decidedBy: string;
  readonly succeeded: boolean;
  /** How many successes the group waited for. */
  readonly needed: number;
}

/** What has been answered so far. @returns undefined if there is no such group. */
export async function readGroup(store: Store, groupId: string): Promise<GroupAnswers | undefined> {
  const {keys} = store;
  const [group, results] = await store.commands.run(
    redis =>
      Promise.all([redis.hgetall(keys.taskGroup(groupId)), redis.hgetall(keys.taskGroupResults(groupId))]),
    RETRY,
  );
  if (group['total'] === undefined) return undefined;
  const place = (messageId: string) => Number(group[`${MEMBER_FIELD}${messageId}`] ?? 0);
  const answers = Object.entries(results)
    .map(([messageId, text]) => ({messageId, result: readGroupResult(text)}))
    .sort((a, b) => place(a.messageId) - place(b.messageId));
  const isDone = group['x_done'] !== undefined || answers.length >= Number(group['total']);
  const rest = restOf(group, answers);
  return {isDone, answers, ...(rest === undefined ? {} : {rest})};
}

function restOf(
  group: Readonly<Record<string, string>>,
  answers: readonly GroupAnswer[],
): GroupRest | undefined {
  const {x_rest: rest, x_done: decidedBy, x_need: needed} = group;
  if (rest !== 'cancel' || decidedBy === undefined) return undefined;
  const members = Object.keys(group)
    .filter(field => field.startsWith(MEMBER_FIELD))
    .map(field => field.slice(MEMBER_FIELD.length));
  const results = new Map(answers.map(({messageId, result}) => [messageId, result]));
  const missing = members.filter(member => !results.has(member));
  const succeeded = isSuccess(results.get(decidedBy)?.status ?? '');
  return missing.length === 0 ? undefined : {missing, decidedBy, succeeded, needed: Number(needed)};
}

/** The rest of a group was cancelled: nobody has to do it again. */
export async function endGroupRest(store: Store, groupId: string): Promise<void> {
  await store.commands.run(redis => redis.hdel(store.keys.taskGroup(groupId), 'x_rest'), RETRY);
}
