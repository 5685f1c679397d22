/** Accepting a task: once for each idempotency key, whoever asks and however often. */
import {createHash} from 'node:crypto';
import {setTimeout as wait} from 'node:timers/promises';
import {ByError} from '../errors.js';
import {newSessionId} from '../ids.js';
import {validateAgentCommandParams, type AgentCommandParams} from '../protocol/orchestration/command.js';
import type {AgentProfile} from '../protocol/orchestration/profile.js';
import {HISTORY_TTL_S, IDEMPOTENCY_TTL_S, RECORD_TTL_S} from '../protocol/orchestration/retention.js';
import {isFinalRun} from '../protocol/orchestration/states.js';
import type {AgentTask} from '../protocol/orchestration/task.js';
import {nameOnce, readText} from '../store/orchestration-lists.js';
import {commit, lookAround, lookAt, type Workspace} from '../store/orchestration.js';
import {accepted, newTask} from './begin.js';
import {poolKeyOf} from './pools.js';
import {profileOf} from './profiles.js';
import {toChange} from './to-change.js';

export interface Accepted {
  /** The request had been accepted before: this is what came of it then. */
  readonly idempotentHit: boolean;
  readonly task: AgentTask;
  readonly runId: string;
}

/**
 * @throws {ByError} INVALID_INPUT, POLICY_INVALID, MESSAGE_TOO_LARGE, AGENT_NOT_FOUND, AGENT_INACTIVE,
 *   IDEMPOTENCY_CONFLICT.
 */
export async function acceptTask(workspace: Workspace, params: AgentCommandParams): Promise<Accepted> {
  return acceptPrepared(workspace, params, await prepareTask(workspace, params));
}

/** @throws {ByError} as {@link acceptTask} */
export async function acceptPrepared(
  workspace: Workspace,
  params: AgentCommandParams,
  {profile, task}: PreparedTask,
): Promise<Accepted> {
  const idempotency = params.idempotencyKey === undefined ? undefined : idempotencyKey(workspace, task);
  const {taskId} = task;
  for (let attempt = 0; ; attempt++) {
    const known =
      idempotency === undefined ? undefined : await earlier(workspace, idempotency, task.requestHash);
    if (known !== undefined) {
      // The first try was made, and its answer was lost.
      const isOurs = known.taskId === taskId;
      const work = await lookAt(workspace, 'task', known.taskId);
      if (work !== undefined)
        return {idempotentHit: !isOurs, task: work.task, runId: work.task.currentRunId ?? ''};
    }
    const ground = await lookAround(workspace, task.sessionId, poolKeyOf(task));
    const decision = accepted(task, ground, profile);
    const change = toChange(workspace, ground, decision);
    if (idempotency !== undefined) {
      const record = commandRecord(task);
      if (known === undefined) change.unlessThere(idempotency);
      change.write('SET', idempotency, record, 'EX', ttlOf(params));
    }
    if (await commit(workspace, change)) {
      const [run] = decision.runs ?? [];
      return {
        idempotentHit: false,
        task: {...decision.task, updatedAt: ground.nowMs, version: 1},
        runId: run?.runId ?? '',
      };
    }
    await wait(Math.random() * 2 * attempt);
  }
}

/** The run that a message to this session belongs to, where the request leaves that open. */
export async function busyRun(
  workspace: Workspace,
  params: AgentCommandParams,
  task: AgentTask,
): Promise<string | undefined> {
  const {hookId, spawnedBy = '', queueMode, sessionId, sessionKey} = params;
  // What comes from outside always begins anew.
  if (hookId !== undefined || isTick(spawnedBy) || queueMode === 'queue') return undefined;
  if (sessionId === undefined && sessionKey === undefined) return undefined;
  const {heads} = await lookAround(workspace, task.sessionId, '');
  const [first] = heads;
  const work = first === undefined ? undefined : await lookAt(workspace, 'run', first);
  if (work?.run === undefined || isFinalRun(work.run.status)) return undefined;
  // Another agent's run has no use for what is said to this one.
  return work.task.agentType === task.agentType ? first : undefined;
}

export interface PreparedTask {
  readonly profile: AgentProfile | undefined;
  readonly task: AgentTask;
}

/** The task a request would become, with its session. Writes nothing but the name of a session. */
export async function prepareTask(workspace: Workspace, params: AgentCommandParams): Promise<PreparedTask> {
  validateAgentCommandParams(params);
  const profile = await profileOf(workspace, params);
  if (profile?.active === false)
    throw new ByError('AGENT_INACTIVE', `The agent "${profile.agentKey}" is switched off.`, {
      hint: 'Switch its profile on, or send to another agent.',
    });
  const {sessionKey} = params;
  const sessionId =
    params.sessionId ?? (sessionKey === undefined ? newSessionId() : await sessionOf(workspace, sessionKey));
  return {profile, task: newTask(workspace.name, params, sessionId, profile)};
}

/** Of parts that no other parts have in common. */
export const digest = (...parts: readonly string[]): string =>
  createHash('sha256').update(JSON.stringify(parts)).digest('hex').slice(0, 32);

const sessionOf = (workspace: Workspace, sessionKey: string): Promise<string> =>
  nameOnce(
    workspace,
    workspace.keys.orchSessionKey(workspace.name, digest(sessionKey)),
    newSessionId(),
    RECORD_TTL_S,
  );

/** Of an agent; of a tick, whatever agent its schedule has by now: a tick is one task. */
export const idempotencyKey = (
  {keys, name}: Workspace,
  {agentId, agentType, idempotencyKey: key, spawnedBy = ''}: AgentTask,
): string =>
  isTick(spawnedBy)
    ? keys.orchIdempotency(name, 'sched', digest(spawnedBy, key))
    : keys.orchIdempotency(name, 'task', digest(agentId ?? `type:${agentType}`, key));

const isTick = (spawnedBy: string): boolean => spawnedBy.startsWith('schedule:');

/** Ticks of a schedule may be repaired days later. */
const ttlOf = ({spawnedBy = ''}: AgentCommandParams): number =>
  isTick(spawnedBy) ? HISTORY_TTL_S : IDEMPOTENCY_TTL_S;

/** What a command is remembered by. @param inputOf the run it went to, as input, where its session was at work. */
export const commandRecord = (
  {taskId, requestHash}: Pick<AgentTask, 'taskId' | 'requestHash'>,
  inputOf?: string,
) => JSON.stringify({id: taskId, request_hash: requestHash, input_of: inputOf});

export interface EarlierCommand {
  readonly taskId: string;
  /** It was, or is to be, input of this run. */
  readonly inputOf: string | undefined;
}

/** @returns what the key was used for. @throws {ByError} IDEMPOTENCY_CONFLICT if that was another request. */
export async function earlier(
  workspace: Workspace,
  key: string,
  requestHash: string,
): Promise<EarlierCommand | undefined> {
  const text = await readText(workspace, key);
  if (text === undefined) return undefined;
  const kept = JSON.parse(text) as {id: string; request_hash: string; input_of?: string};
  requireSame(kept, requestHash, {is: 'request', toSend: 'request'});
  return {taskId: kept.id, inputOf: kept.input_of};
}

/**
 * @param kept under an idempotency key that is used again.
 * @param words for what it is used for, and what is to be sent under another.
 * @throws {ByError} IDEMPOTENCY_CONFLICT if it was used for something else.
 */
export function requireSame(
  {id, request_hash: hash}: {readonly id: string; readonly request_hash: string},
  requestHash: string,
  {is, toSend}: {readonly is: string; readonly toSend: string},
): void {
  if (hash === requestHash) return;
  throw new ByError('IDEMPOTENCY_CONFLICT', `This idempotency key was used for another ${is} (${id}).`, {
    hint: `Use a new key for a new ${toSend}.`,
    details: {id},
  });
}
