/** `by agent create|update|delete|scale|resume` and `by agent list --pools`: profiles of agents, and the pools of their runs. */
import {serverNowMs} from '../../store/store.js';
import {readFile} from 'node:fs/promises';
import {ByError, messageOf} from '../../errors.js';
import {
  changePool,
  createAgent,
  deleteAgent,
  listPools,
  profileOf,
  updateAgent,
  type AgentPatch,
} from '../../orchestration/profiles.js';
import {healed} from '../../orchestration/pools.js';
import {isObject} from '../../protocol/limits.js';
import {AgentPool} from '../../protocol/orchestration/pool.js';
import {AgentProfile} from '../../protocol/orchestration/profile.js';
import {recordDocument} from '../../protocol/orchestration/record.js';
import {sizeOf} from '../../store/orchestration-lists.js';
import {openWorkspace, type Workspace} from '../../store/orchestration.js';
import {formatDuration} from '../duration.js';
import {opaque} from '../json.js';
import {paint} from '../printer.js';
import {policyOf} from './policy-flags.js';
import type {At} from './tasks.js';

const workspaceOf = ({store, workspace}: At) => openWorkspace(store, workspace);

/** What people say of a profile; what they do not say stays, or is the default. */
export interface ProfileFlags {
  readonly type?: string | undefined;
  readonly name?: string | undefined;
  /** A file with a JSON object. */
  readonly config?: string | undefined;
  readonly policy?: string | undefined;
  readonly concurrency?: number | undefined;
  readonly threshold?: number | undefined;
  readonly active?: boolean | undefined;
}

/** @throws {ByError} INVALID_INPUT for a file that can not be used. */
async function patchOf(flags: ProfileFlags): Promise<AgentPatch> {
  const {type, name, concurrency, threshold, active} = flags;
  const given = {agentType: type, name, concurrency, failedAttemptThreshold: threshold, active};
  return {
    ...Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)),
    ...(flags.config === undefined ? {} : {config: await objectIn(flags.config)}),
    ...(flags.policy === undefined ? {} : {defaultPolicy: (await policyOf({policy: flags.policy})) ?? {}}),
  };
}

async function objectIn(argument: string): Promise<Record<string, unknown>> {
  const path = argument.replace(/^@/, '');
  try {
    const doc: unknown = JSON.parse(await readFile(path, 'utf8'));
    if (isObject(doc)) return doc;
    throw new TypeError('it is no JSON object');
  } catch (cause) {
    throw new ByError('INVALID_INPUT', `"${path}" holds no config: ${messageOf(cause)}`, {
      hint: 'Write a JSON object into it.',
      cause,
    });
  }
}

const view = (profile: AgentProfile) => ({agent: opaque(recordDocument(AgentProfile, profile))});

export async function createForPeople(at: At, agentKey: string, flags: ProfileFlags) {
  const profile = await createAgent(workspaceOf(at), {agentKey, ...(await patchOf(flags))});
  at.printer.out(`${agentKey}   created (${profile.agentId}), ${described(profile)}`);
  return view(profile);
}

const described = ({agentType, concurrency, active}: AgentProfile) =>
  `agent type ${agentType}, ${active ? `${concurrency} at once in each pool` : 'switched off'}`;

export async function updateForPeople(
  at: At,
  agent: string,
  flags: ProfileFlags,
  ifVersion: number | undefined,
) {
  const ws = workspaceOf(at);
  const patch = await patchOf(flags);
  if (Object.keys(patch).length === 0)
    throw new ByError('USAGE', 'It is not said what is to be changed.', {
      hint: 'See `by agent update --help`.',
    });
  const {agentId} = await requireProfile(ws, agent);
  const profile = await updateAgent(ws, agentId, patch, ifVersion);
  at.printer.out(`${profile.agentKey}   updated (version ${profile.version}): ${described(profile)}`);
  return view(profile);
}

export async function deleteForPeople(
  at: At,
  agent: string,
  {force, confirm}: {readonly force: boolean; readonly confirm: (question: string) => Promise<boolean>},
) {
  const ws = workspaceOf(at);
  const {agentId, agentKey} = await requireProfile(ws, agent);
  if (!(await confirm(`Delete the profile "${agentKey}"? Its tasks are kept.`)))
    return {agent_id: agentId, deleted: false};
  await deleteAgent(ws, agentId, force);
  at.printer.out(`${agentKey}   deleted; its tasks are kept`);
  return {agent_id: agentId, deleted: true};
}

/** An agent type without a profile has pools too: those that are there are scaled, later ones have the default. */
export async function scaleForPeople(at: At, agent: string, desired: number) {
  const ws = workspaceOf(at);
  const profile = await findProfile(ws, agent);
  if (profile !== undefined) await updateAgent(ws, profile.agentId, {concurrency: desired});
  const pools = (await listPools(ws)).filter(pool => isOf(pool, agent, profile));
  if (profile === undefined) {
    if (pools.length === 0) throw unknownAgent(agent);
    for (const {key} of pools) await changePool(ws, key, pool => ({...pool, desired}));
  }
  const what = desired === 0 ? 'paused: nothing new is sent' : `${desired} at once in each pool`;
  at.printer.out(`${agent}   ${what}`);
  if (profile === undefined)
    at.printer.note(`It has no profile: pools made later let 4 go. Keep it with by agent create ${agent}`);
  return {agent, desired, pools: pools.map(({key}) => key)};
}

const isOf = (pool: AgentPool, agent: string, profile: AgentProfile | undefined) =>
  profile === undefined
    ? pool.agentId === undefined && pool.agentType === agent
    : pool.agentId === profile.agentId;

/** @param text a pool, or an agent: all its pools that are degraded. */
export async function resumeForPeople(at: At, text: string) {
  const ws = workspaceOf(at);
  const all = await listPools(ws);
  const profile = await findProfile(ws, text);
  const found = all.filter(pool => pool.key === text || isOf(pool, text, profile));
  if (found.length === 0) throw unknownAgent(text);
  const sick = found.filter(({status}) => status !== 'healthy');
  for (const {key} of sick) await changePool(ws, key, healed);
  for (const {key, agentType, failures} of sick)
    at.printer.out(`${agentType}   healthy again (${key}, ${failures} failures forgotten)`);
  if (sick.length === 0) at.printer.out(`${text}   is healthy; nothing to resume`);
  return {resumed: sick.map(({key}) => key)};
}

export async function listPoolsForPeople(at: At, output: string, agentType: string | undefined) {
  const ws = workspaceOf(at);
  const {printer} = at;
  const [all, nowMs] = await Promise.all([listPools(ws), serverNowMs(ws.store)]);
  const pools = all.filter(pool => agentType === undefined || pool.agentType === agentType);
  const counts = await sizeOf(
    ws,
    pools.flatMap(({key}) => [ws.keys.orchInflight(ws.name, key), ws.keys.orchReady(ws.name, key)]),
  );
  const rows = pools.map((pool, i) => ({pool, inflight: counts[2 * i] ?? 0, ready: counts[2 * i + 1] ?? 0}));
  if (output === 'name') for (const {pool} of rows) printer.out(pool.key);
  else
    printer.table(rows, [
      {header: 'POOL', value: ({pool}) => pool.key},
      {header: 'AGENT', value: ({pool}) => pool.agentType},
      {header: 'LANE', value: ({pool}) => pool.lane ?? '-'},
      {header: 'STATUS', value: ({pool}) => pool.status.replace('_', '-')},
      {header: 'RUNNING', value: ({pool, inflight}) => `${inflight}/${pool.desired}`, align: 'right'},
      {header: 'READY', value: ({ready}) => String(ready), align: 'right'},
      {
        header: 'NOTE',
        value: ({pool: {status, failures, openUntilAt = 0, desired}}) =>
          desired === 0
            ? 'paused'
            : status === 'degraded'
              ? `${failures} failures, probe in ${formatDuration(Math.max(0, openUntilAt - nowMs))}`
              : failures > 0
                ? `${failures} failures`
                : '',
      },
    ]);
  if (rows.length === 0) printer.note(paint.dim('No task was submitted lately.'));
  return {
    pools: rows.map(({pool, inflight, ready}) =>
      opaque({...recordDocument(AgentPool, pool), inflight, ready}),
    ),
  };
}

/** By its id or its key. */
async function findProfile(ws: Workspace, agent: string): Promise<AgentProfile | undefined> {
  return profileOf(ws, agent.startsWith('agt_') ? {agentId: agent} : {agentType: agent});
}

async function requireProfile(ws: Workspace, agent: string): Promise<AgentProfile> {
  const found = await findProfile(ws, agent);
  if (found !== undefined) return found;
  throw new ByError('AGENT_NOT_FOUND', `There is no profile "${agent.slice(0, 80)}".`, {
    hint: `Make one with \`by agent create ${agent.slice(0, 80)}\`; an agent type needs none.`,
  });
}

const unknownAgent = (agent: string) =>
  new ByError('AGENT_NOT_FOUND', `"${agent.slice(0, 80)}" has no profile and no pools.`, {
    hint: 'See `by agent list --pools`.',
    next: ['by agent list --pools'],
  });
