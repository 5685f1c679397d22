/** Agent profiles: created, changed, looked up. An agent type needs none: then the defaults hold. */
import {serverNowMs} from '../store/store.js';
import {ByError} from '../errors.js';
import {isValidId} from '../ids.js';
import {isSensitive} from '../protocol/redaction.js';
import type {AgentCommandParams} from '../protocol/orchestration/command.js';
import {newOrchestrationId} from '../protocol/orchestration/ids.js';
import {
  normalizeRunExecutionPolicy,
  validateRunExecutionPolicy,
  type PolicyRequest,
} from '../protocol/orchestration/policy.js';
import {
  AGENT_KEY,
  AgentProfile,
  DEFAULT_CONCURRENCY,
  DEFAULT_FAILURE_THRESHOLD,
  defaultAgentConfig,
} from '../protocol/orchestration/profile.js';
import {AgentPool} from '../protocol/orchestration/pool.js';
import {readRecord, writeRecord} from '../protocol/orchestration/record.js';
import {members, readDocs, readText, setMembers, sizeOf} from '../store/orchestration-lists.js';
import {Change, commit, type Workspace} from '../store/orchestration.js';

export interface CreateAgentParams {
  readonly agentKey: string;
  /** Default the key. */
  readonly agentType?: string;
  /** Default the key. */
  readonly name?: string;
  readonly config?: Readonly<Record<string, unknown>>;
  readonly defaultPolicy?: PolicyRequest;
  /** Runs of each pool at once, 0 to 1,000. Default 4; 0 pauses. */
  readonly concurrency?: number;
  /** Failures in a row that degrade a pool. Default 5. */
  readonly failedAttemptThreshold?: number;
  readonly active?: boolean;
}
export type AgentPatch = Omit<Partial<CreateAgentParams>, 'agentKey'>;

const MAX_CONFIG_BYTES = 65_536;

/** @returns undefined for an agent type without a profile. @throws {ByError} AGENT_NOT_FOUND */
export async function profileOf(
  workspace: Workspace,
  {agentId, agentType = ''}: Pick<AgentCommandParams, 'agentId' | 'agentType'>,
): Promise<AgentProfile | undefined> {
  if (agentId !== undefined) return getAgent(workspace, agentId);
  if (!AGENT_KEY.test(agentType)) return undefined;
  const id = await readText(workspace, workspace.keys.orchAgentKey(workspace.name, agentType));
  return id === undefined ? undefined : getAgent(workspace, id);
}

/** @throws {ByError} AGENT_NOT_FOUND */
export async function getAgent(workspace: Workspace, agentId: string): Promise<AgentProfile> {
  const {keys, name} = workspace;
  const [doc] = await readDocs(workspace, [keys.orchAgent(name, agentId)]);
  const profile = readRecord(AgentProfile, doc);
  if (profile !== undefined) return profile;
  throw new ByError('AGENT_NOT_FOUND', `No agent profile "${agentId.slice(0, 80)}".`, {
    hint: 'An agent type without a profile is named by its type.',
  });
}

/** @throws {ByError} AGENT_EXISTS, INVALID_INPUT, POLICY_INVALID. */
export async function createAgent(workspace: Workspace, params: CreateAgentParams): Promise<AgentProfile> {
  const {keys, name} = workspace;
  const {agentKey, agentType = agentKey} = params;
  const nowMs = await serverNowMs(workspace.store);
  const profile: AgentProfile = {
    agentId: newOrchestrationId('agent'),
    agentKey,
    agentType,
    name: params.name ?? agentKey,
    config: {...(params.config ?? defaultAgentConfig(agentKey))},
    defaultPolicy: normalizeRunExecutionPolicy(params.defaultPolicy),
    concurrency: params.concurrency ?? DEFAULT_CONCURRENCY,
    failedAttemptThreshold: params.failedAttemptThreshold ?? DEFAULT_FAILURE_THRESHOLD,
    active: params.active ?? true,
    ...{createdAt: nowMs, updatedAt: nowMs, version: 1},
  };
  check(profile);
  const key = keys.orchAgent(name, profile.agentId);
  const change = new Change(key)
    .unlessThere(keys.orchAgentKey(name, agentKey))
    .write('HSET', key, 'doc', writeRecord(AgentProfile, profile), 'version', 1)
    .write('SET', keys.orchAgentKey(name, agentKey), profile.agentId)
    .write('ZADD', keys.orchAgents(name), nowMs, profile.agentId);
  if (await commit(workspace, change)) return profile;
  throw new ByError('AGENT_EXISTS', `There is a profile "${agentKey}" already.`, {
    hint: 'Change that one, or use another key.',
  });
}

/**
 * @param ifVersion of the profile as it was seen; another one is a conflict.
 * @throws {ByError} AGENT_NOT_FOUND, VERSION_CONFLICT, INVALID_INPUT, POLICY_INVALID.
 */
export async function updateAgent(
  workspace: Workspace,
  agentId: string,
  patch: AgentPatch,
  ifVersion?: number,
): Promise<AgentProfile> {
  const {keys, name} = workspace;
  const {defaultPolicy, config, ...fields} = patch;
  for (;;) {
    const [was, nowMs] = await Promise.all([getAgent(workspace, agentId), serverNowMs(workspace.store)]);
    if (ifVersion !== undefined && was.version !== ifVersion)
      throw new ByError('VERSION_CONFLICT', `The profile is at version ${was.version}, not ${ifVersion}.`, {
        hint: 'Look at it again, and give its new version.',
        details: {version: was.version},
      });
    const given = JSON.parse(JSON.stringify(fields)) as typeof fields;
    const next: AgentProfile = {
      ...was,
      ...given,
      ...(config === undefined ? {} : {config: {...config}}),
      ...(defaultPolicy === undefined ? {} : {defaultPolicy: normalizeRunExecutionPolicy(defaultPolicy)}),
      ...{updatedAt: nowMs, version: was.version + 1},
    };
    check(next);
    const key = keys.orchAgent(name, agentId);
    const change = new Change(key)
      .unlessChanged(key, 'version', was.version)
      .write('HSET', key, 'doc', writeRecord(AgentProfile, next), 'version', next.version);
    if (!(await commit(workspace, change))) continue;
    if (patch.concurrency !== undefined) await scalePools(workspace, agentId, patch.concurrency);
    return next;
  }
}

export async function listAgents(workspace: Workspace): Promise<AgentProfile[]> {
  const {keys, name} = workspace;
  const ids = await members(workspace, keys.orchAgents(name));
  const docs = await readDocs(
    workspace,
    ids.map(id => keys.orchAgent(name, id)),
  );
  return docs.flatMap(doc => readRecord(AgentProfile, doc) ?? []);
}

/** @throws {ByError} AGENT_NOT_FOUND; AGENT_IN_USE while tasks of it are ready or under way, unless by force. */
export async function deleteAgent(workspace: Workspace, agentId: string, force = false): Promise<void> {
  const {keys, name} = workspace;
  const profile = await getAgent(workspace, agentId);
  const pools = (await listPools(workspace)).filter(pool => pool.agentId === agentId);
  const counts = await sizeOf(
    workspace,
    pools.flatMap(({key}) => [keys.orchReady(name, key), keys.orchInflight(name, key)]),
  );
  if (!force && counts.some(count => count > 0))
    throw new ByError('AGENT_IN_USE', `Tasks of "${profile.agentKey}" are under way.`, {
      hint: 'Wait for them, cancel them, or delete it by force.',
    });
  const key = keys.orchAgent(name, agentId);
  await commit(
    workspace,
    new Change(key)
      .write('DEL', key)
      .write('DEL', keys.orchAgentKey(name, profile.agentKey))
      .write('ZREM', keys.orchAgents(name), agentId),
  );
}

export async function listPools(workspace: Workspace): Promise<AgentPool[]> {
  const {keys, name} = workspace;
  const ids = await setMembers(workspace, keys.orchPools(name));
  const docs = await readDocs(
    workspace,
    ids.map(id => keys.orchPool(name, id)),
  );
  return docs.flatMap(doc => readRecord(AgentPool, doc) ?? []);
}

/** Change a pool. @returns undefined if there is none. */
export async function changePool(
  workspace: Workspace,
  key: string,
  change: (pool: AgentPool) => AgentPool,
): Promise<AgentPool | undefined> {
  const {keys, name} = workspace;
  const poolKey = keys.orchPool(name, key);
  for (;;) {
    const [[doc], nowMs] = await Promise.all([readDocs(workspace, [poolKey]), serverNowMs(workspace.store)]);
    const was = readRecord(AgentPool, doc);
    if (was === undefined) return undefined;
    const next = {...change(was), updatedAt: nowMs, version: was.version + 1};
    const writing = new Change(poolKey)
      .unlessChanged(poolKey, 'version', was.version)
      .write('HSET', poolKey, 'doc', writeRecord(AgentPool, next), 'version', next.version);
    if (await commit(workspace, writing)) return next;
  }
}

/** How many attempts of each of an agent's pools may be under way. */
export async function scalePools(workspace: Workspace, agentId: string, desired: number): Promise<void> {
  for (const pool of await listPools(workspace))
    if (pool.agentId === agentId) await changePool(workspace, pool.key, one => ({...one, desired}));
}

function check(profile: AgentProfile): void {
  const result = AgentProfile.out.safeParse(profile);
  const issue = result.error?.issues[0];
  if (issue !== undefined)
    throw new ByError('INVALID_INPUT', `"${issue.path.join('.')}" can not be used: ${issue.message}`, {
      hint: `Correct "${issue.path.join('.')}".`,
    });
  if (!isValidId(profile.agentType))
    throw new ByError('INVALID_INPUT', `"${profile.agentType}" can not be an agent type.`, {
      hint: 'Use letters, digits and . _ : @ -.',
    });
  validateRunExecutionPolicy(profile.defaultPolicy);
  if (JSON.stringify(profile.config).length > MAX_CONFIG_BYTES)
    throw new ByError('MESSAGE_TOO_LARGE', 'A config may have 64 KiB.', {hint: 'Keep the rest in a file.'});
  const secret = Object.keys(profile.config).find(isSensitive);
  if (secret !== undefined)
    throw new ByError('INVALID_INPUT', `The config names a secret: "${secret}".`, {
      hint: 'Name the environment variable that holds it in place of the secret.',
    });
}
