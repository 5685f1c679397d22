/** A configuration of plugins as it is kept in Redis: data, and tools by name. Never code, never secrets. */
import {z} from 'zod';
import {parseEnvelope, readable} from './limits.js';

const Prompt = z.union([
  z.string(),
  z.object({text: z.string(), defaults: z.record(z.string(), z.string()).optional()}),
]);
const Data = z.record(z.string(), z.unknown());

export const SnapshotConfig = z.object({
  agent_id: z.string(),
  name: z.string(),
  description: z.string(),
  prompts: z.record(z.string(), Prompt),
  tools: z.array(z.object({name: z.string(), description: z.string(), input_schema: Data})),
  skills: Data,
  knowledge_bases: Data,
  callbacks: z.array(z.string()),
  sub_agents: z.array(z.string()),
  extra: Data,
  on_conflict: z.enum(['error', 'overwrite', 'skip']),
});
export type SnapshotConfig = z.output<typeof SnapshotConfig>;

export const ConfigSnapshot = z.object({
  schema: z.literal(1),
  /** Of the configs. */
  hash: z.string(),
  /** Who kept it. */
  worker_id: z.string(),
  /** Unix milliseconds by that worker's clock. */
  at: z.number(),
  plugins: z.array(z.object({name: z.string(), version: z.string()})),
  configs: z.array(SnapshotConfig),
});
export type ConfigSnapshot = z.output<typeof ConfigSnapshot>;

/** @returns undefined if it is none of ours: a Python pickle, a later schema, damage. Nothing of it is run. */
export function readSnapshot(text: string): ConfigSnapshot | undefined {
  const doc = readable(() => parseEnvelope(text));
  const parsed = doc === undefined ? undefined : ConfigSnapshot.safeParse(doc);
  return parsed?.success === true ? parsed.data : undefined;
}

const Count = z.object({
  calls: z.number(),
  failures: z.number(),
  timeouts: z.number(),
  total_ms: z.number(),
  max_ms: z.number(),
});

/** What a worker says of its plugins. */
export const PluginReport = z.object({
  schema: z.literal(1),
  worker_id: z.string(),
  agent_types: z.array(z.string()),
  at: z.number(),
  /** How often the worker has built its configuration; 0 if it could not. */
  config_version: z.number(),
  hash: z.string(),
  agent_ids: z.array(z.string()),
  /** Numbers of the reloads it has carried out, by agent type. */
  reloads: z.record(z.string(), z.number()),
  /** Why it works with a configuration that is not its own plugins'; '' if it does not. */
  problem: z.string(),
  plugins: z.array(
    z.object({
      name: z.string(),
      version: z.string(),
      description: z.string(),
      source: z.string(),
      hooks: z.record(z.string(), Count),
    }),
  ),
});
export type PluginReport = z.output<typeof PluginReport>;

/** @returns undefined if it can not be read. */
export function readReport(text: string): PluginReport | undefined {
  const doc = readable(() => parseEnvelope(text));
  const parsed = doc === undefined ? undefined : PluginReport.safeParse(doc);
  return parsed?.success === true ? parsed.data : undefined;
}
