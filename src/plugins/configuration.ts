/** A worker's configuration: what its plugins registered, put together. Built anew at each reload, and never changed. */
import {ByError} from '../errors.js';
import {
  auditConfigs,
  configHash,
  redactConfig,
  type AgentConfig as Audited,
} from '../protocol/agent-config.js';
import type {ConfigSnapshot, SnapshotConfig} from '../protocol/config-snapshot.js';
import {isObject} from '../protocol/limits.js';
import {REDACTED} from '../protocol/redaction.js';
import {deepFrozen, type LoadedConfig} from './agent-config.js';

export type Configs = ReadonlyMap<string, LoadedConfig>;

/** What one plugin registered. */
export interface Registered {
  readonly plugin: string;
  readonly configs: readonly LoadedConfig[];
}

/**
 * Put together what several plugins registered, in their order; a config says itself what becomes of it where another
 * came before.
 * @throws {ByError} PLUGIN_LOAD_FAILED, naming both plugins.
 */
export function mergeConfigs(registered: readonly Registered[]): Configs {
  const merged = new Map<string, {readonly config: LoadedConfig; readonly plugin: string}>();
  for (const {plugin, configs} of registered) {
    for (const config of configs) {
      const {agentId, onConflict} = config;
      const other = merged.get(agentId);
      if (other !== undefined && onConflict === 'skip') continue;
      if (other !== undefined && onConflict === 'error') {
        throw new ByError(
          'PLUGIN_LOAD_FAILED',
          `Plugin "${plugin}" registers a config for "${agentId}", which plugin "${other.plugin}" has registered.`,
          {hint: 'Give the second an onConflict of overwrite or skip, or another agentId.'},
        );
      }
      merged.set(agentId, {config, plugin});
    }
  }
  return new Map([...merged].map(([id, {config}]) => [id, config]));
}

/** A config as it is kept: its secrets redacted, its tools and callbacks by name. */
function toSnapshot(config: LoadedConfig): SnapshotConfig {
  const data = (value: unknown) => redactConfig(value) as Record<string, unknown>;
  return {
    agent_id: config.agentId,
    name: config.name,
    description: config.description,
    prompts: config.prompts,
    tools: Object.entries(config.tools).map(([name, {description, inputSchema}]) => ({
      ...{name, description, input_schema: inputSchema},
    })),
    skills: data(config.skills),
    knowledge_bases: data(config.knowledgeBases),
    callbacks: Object.keys(config.callbacks),
    sub_agents: [...config.subAgents],
    extra: data(config.extra),
    on_conflict: config.onConflict,
  };
}

/** The configs as they are kept, by agent id, and the hash of that: nothing secret goes into it. */
export function snapshotConfigs(configs: Configs): Pick<ConfigSnapshot, 'configs' | 'hash'> {
  const kept = [...configs.values()].map(toSnapshot).sort((a, b) => (a.agent_id < b.agent_id ? -1 : 1));
  return {configs: kept, hash: configHash(kept)};
}

/**
 * Kept configs with what only code has: functions, schemas and secrets are those of `now`, where it has them. What it has
 * no more is known by name only, and a secret stays redacted.
 */
export function restoreConfigs(kept: readonly SnapshotConfig[], now: Configs): Configs {
  return new Map(
    kept.map(snapshot => {
      const current = now.get(snapshot.agent_id);
      const config: LoadedConfig = {
        agentId: snapshot.agent_id,
        name: snapshot.name,
        description: snapshot.description,
        prompts: deepFrozen(snapshot.prompts),
        tools: Object.fromEntries(
          snapshot.tools.map(({name, description, input_schema: inputSchema}) => [
            name,
            current?.tools[name] ?? {description, inputSchema, input: undefined, execute: undefined},
          ]),
        ),
        skills: restored(snapshot.skills, current?.skills),
        knowledgeBases: restored(snapshot.knowledge_bases, current?.knowledgeBases),
        callbacks: current?.callbacks ?? {},
        subAgents: snapshot.sub_agents,
        extra: restored(snapshot.extra, current?.extra),
        onConflict: snapshot.on_conflict,
      };
      return [config.agentId, Object.freeze(config)];
    }),
  );
}

/** Places of what can not be had from kept configs: secrets and code. */
export function missingIn(configs: Configs): string[] {
  return [...configs.values()].flatMap(({agentId, tools, skills, knowledgeBases, extra}) => [
    ...Object.entries(tools).flatMap(([name, {execute}]) =>
      execute === undefined ? [`${agentId}.tools.${name}`] : [],
    ),
    ...Object.entries({skills, knowledgeBases, extra}).flatMap(([field, value]) =>
      redactedIn(value, `${agentId}.${field}`),
    ),
  ]);
}

const redactedIn = (value: unknown, place: string): string[] => {
  if (value === REDACTED) return [place];
  if (typeof value !== 'object' || value === null) return [];
  return Object.entries(value).flatMap(([key, item]) => redactedIn(item, `${place}.${key}`));
};

function restored<T>(kept: T, current: unknown): T {
  return deepFrozen(filled(kept, current) as T);
}

function filled(kept: unknown, current: unknown): unknown {
  if (kept === REDACTED) return current ?? kept;
  if (Array.isArray(kept))
    return kept.map((item: unknown, at) => filled(item, Array.isArray(current) ? current[at] : undefined));
  if (!isObject(kept)) return kept;
  const from = isObject(current) ? current : {};
  return Object.fromEntries(
    Object.entries(kept).map(([key, item]) => [
      key,
      filled(item, Object.hasOwn(from, key) ? from[key] : undefined),
    ]),
  );
}

/** The audit that records carry: spec §9.1. */
export function auditOf(version: number, agentType: string, configs: Configs): Record<string, unknown> {
  const audited = [...configs.values()].map((config): Audited => {
    const {prompts, tools, skills, knowledgeBases, subAgents, extra} = config;
    return {
      ...{agentId: config.agentId, name: config.name, description: config.description},
      ...{prompts, skills, knowledgeBases, subAgents, extra, onConflict: config.onConflict},
      tools: Object.fromEntries(
        Object.entries(tools).map(([name, {description, inputSchema}]) => [
          name,
          {description, input_schema: inputSchema},
        ]),
      ),
    };
  });
  return auditConfigs(version, agentType, audited);
}
