/** Agent configs as Python keeps them in Redis, and the audit of them that dashboards show. Spec §9.1. */
import {createHash} from 'node:crypto';
import {isObject} from './limits.js';
import {isSensitive, REDACTED} from './redaction.js';

/** Lifetime of a snapshot, in seconds. */
export const SNAPSHOT_TTL_S = 604_800;

const PREFIX = 'dill-base64:';

/** Whether the text is a Python pickle. Never unpickle it: that runs code. */
export const isPickledSnapshot = (text: string): boolean => text.startsWith(PREFIX);

/** The pickle of an empty snapshot, before and after its version number. */
const HEAD = Buffer.from(
  'jCNieV9mcmFtZXdvcmsuY29yZS5leHRlbnNpb25zLnBsdWdpbpSMFEFnZW50Q29uZmlnc1NuYXBzaG90lJOUKYGUfZQojAd2ZXJzaW9ulA==',
  'base64',
);
const TAIL = Buffer.from('jAdjb25maWdzlCl1Yi4=', 'base64');
/** Pickle protocol 4, then a frame whose length follows in eight bytes. */
const PROTOCOL_AND_FRAME = Buffer.from([0x80, 0x04, 0x95]);

/**
 * A snapshot without configs, which any Python worker can load: it lets a Python worker continue an execution that
 * ours suspended (§6.7).
 *
 * @param version 0 to 65,535.
 */
export function emptyConfigsSnapshot(version = 0): string {
  if (!Number.isInteger(version) || version < 0 || version > 0xffff) {
    throw new RangeError(`a snapshot's version is a whole number from 0 to 65535, got ${version}`);
  }
  const number =
    version < 256 ? Buffer.from([0x4b, version]) : Buffer.from([0x4d, version & 0xff, version >> 8]);
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(HEAD.length + number.length + TAIL.length));
  return PREFIX + Buffer.concat([PROTOCOL_AND_FRAME, length, HEAD, number, TAIL]).toString('base64');
}

/** Whether it is such a snapshot: there is nothing in it to read. */
export const isEmptySnapshot = (text: string, version = 0): boolean =>
  Number.isInteger(version) && version >= 0 && version <= 0xffff && text === emptyConfigsSnapshot(version);

/** Version 0, the constant of §9.1. */
export const EMPTY_CONFIGS_SNAPSHOT = emptyConfigsSnapshot(0);

export interface AgentConfig {
  readonly agentId: string;
  readonly name?: string;
  readonly description?: string;
  /** Name to text. Only hashes of them are shown. */
  readonly prompts?: Readonly<Record<string, unknown>>;
  readonly tools?: Readonly<Record<string, unknown>>;
  readonly skills?: Readonly<Record<string, unknown>>;
  readonly knowledgeBases?: Readonly<Record<string, unknown>>;
  readonly subAgents?: readonly string[];
  readonly extra?: Readonly<Record<string, unknown>>;
  readonly onConflict?: string;
}

/** `sha256:` and the digest of compact JSON with sorted keys. */
export function configHash(value: unknown): string {
  return `sha256:${createHash('sha256').update(canonicalJson(value)).digest('hex')}`;
}

/** What dashboards show of a config: prompts as hashes, tools without secrets. */
export function auditConfig(config: AgentConfig) {
  const prompts = Object.entries(config.prompts ?? {}).sort(byName);
  return {
    agent_id: config.agentId,
    registered: true,
    source: 'agent_config',
    name: config.name ?? '',
    description: config.description ?? '',
    prompt_keys: prompts.map(([name]) => name),
    prompt_hashes: Object.fromEntries(prompts.map(([name, prompt]) => [name, configHash(prompt)])),
    tools: Object.fromEntries(
      Object.entries(config.tools ?? {}).map(([name, tool]) => [
        name,
        {config_hash: configHash(tool), redacted_config: redactConfig(tool)},
      ]),
    ),
    skills: redactConfig(config.skills ?? {}),
    knowledge_bases: redactConfig(config.knowledgeBases ?? {}),
    sub_agents: config.subAgents ?? [],
    extra: redactConfig(config.extra ?? {}),
    on_conflict: config.onConflict ?? 'error',
  };
}

/** The value of `agent_config_audit` in records and snapshots. */
export function auditConfigs(version: number, targetAgentType: string, configs: readonly AgentConfig[]) {
  const sorted = [...configs].sort((a, b) => (a.agentId < b.agentId ? -1 : 1)).map(auditConfig);
  const target = sorted.find(config => config.agent_id === targetAgentType);
  const audit = {
    version,
    target_agent_type: targetAgentType,
    target_agent_registered: target !== undefined,
    config_count: sorted.length,
    agent_ids: sorted.map(config => config.agent_id),
    target_agent_config: target ?? unregisteredTarget(targetAgentType),
    configs: sorted,
  };
  return {...audit, snapshot_hash: configHash(audit)};
}

/** Values under keys that name secrets become `[REDACTED]`, at any depth. */
export function redactConfig(value: unknown): unknown {
  if (Array.isArray(value)) return (value as unknown[]).map(redactConfig);
  if (!isObject(value)) return value;
  return Object.fromEntries(
    Object.entries(value).map(([key, item]) => [key, isSensitive(key) ? REDACTED : redactConfig(item)]),
  );
}

function unregisteredTarget(agentType: string) {
  return {
    ...auditConfig({agentId: agentType, name: agentType, onConflict: ''}),
    registered: false,
    source: 'worker_target_agent_type',
    description: 'No config is registered for this agent type.',
  };
}

const byName = ([a]: [string, unknown], [b]: [string, unknown]) => (a < b ? -1 : 1);

function canonicalJson(value: unknown): string {
  return JSON.stringify(value, (_key, item: unknown) =>
    isObject(item) ? Object.fromEntries(Object.entries(item).sort(byName)) : item,
  );
}
