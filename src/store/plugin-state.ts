/** What is kept of plugins: the numbers of reloads, their answers, configurations, and what each worker has. */
import {
  readReport,
  readSnapshot,
  type ConfigSnapshot,
  type PluginReport,
} from '../protocol/config-snapshot.js';
import {readable} from '../protocol/limits.js';
import {encodeReloadAck, readReloadAck, type ReloadAck} from '../protocol/reload.js';
import type {Connection} from './connection.js';
import {streamReply} from './control-streams.js';
import {defineScript, flag, integer} from './script.js';
import {getAll, type Store} from './store.js';

const RETRY = {retryForMs: 5000};
/** Configurations kept of an agent type, and for how long after the last worker with plugins has stopped. */
const KEPT_CONFIGS = 10;
export const CONFIGS_TTL_S = 2_592_000;
const ACKS_TTL_S = 86_400;
const REPORT_TTL_S = 120;

const nextReloadScript = defineScript({
  file: 'next-reload.lua',
  keys: ['reload'],
  args: ['reloadId', 'reason'],
  reply: integer,
});

/** @returns the number of a new reload of an agent type: one more than the last. The same id again gets the same. */
export function nextReload(
  store: Store,
  agentType: string,
  {reloadId, reason}: {readonly reloadId: string; readonly reason: string},
): Promise<number> {
  const keys = {reload: store.keys.pluginReload(agentType)};
  return nextReloadScript(store.commands, {keys, args: {reloadId, reason}}, RETRY);
}

export interface NewestReload {
  readonly agentType: string;
  /** 0 if there was none. */
  readonly version: number;
  readonly reloadId: string;
  readonly reason: string;
}

/** The newest reload of each agent type, in their order. */
export function newestReloads(store: Store, agentTypes: readonly string[]): Promise<NewestReload[]> {
  return store.commands.run(
    redis =>
      Promise.all(
        agentTypes.map(async (agentType): Promise<NewestReload> => {
          const fields = ['version', 'reload_id', 'reason'] as const;
          const [version, reloadId, reason] = await redis.hmget(
            store.keys.pluginReload(agentType),
            ...fields,
          );
          return {agentType, version: Number(version ?? 0), reloadId: reloadId ?? '', reason: reason ?? ''};
        }),
      ),
    RETRY,
  );
}

/** Put a RELOAD_PLUGINS on the stream of one worker. Sent twice it is carried out once: the reload has an id. */
export async function sendReload(store: Store, workerId: string, command: string): Promise<void> {
  await store.commands.run(
    redis => redis.xadd(store.keys.workerCtrlStream(workerId), '*', 'data', command),
    RETRY,
  );
}

const ackScript = defineScript({
  file: 'ack-reload.lua',
  keys: ['acks'],
  args: ['document', 'ttlS'],
  reply: flag,
});

export async function ackReload(store: Store, ack: ReloadAck): Promise<void> {
  await ackScript(
    store.commands,
    {
      keys: {acks: store.keys.pluginReloadAck(ack.reloadId)},
      args: {document: encodeReloadAck(ack), ttlS: ACKS_TTL_S},
    },
    RETRY,
  );
}

/** A Python worker gives the answers no lifetime. */
export async function boundAcks(store: Store, reloadId: string): Promise<void> {
  await store.commands.run(redis => redis.expire(store.keys.pluginReloadAck(reloadId), ACKS_TTL_S), RETRY);
}

export interface ReloadAcks {
  readonly acks: readonly ReloadAck[];
  /** Read on from here. */
  readonly lastId: string;
}

/** @param after `0-0` for all. @param blockMs how long to wait for the first; 0 not at all. */
export async function readAcks(
  store: Store,
  connection: Connection,
  reloadId: string,
  {after, blockMs, count}: {readonly after: string; readonly blockMs: number; readonly count: number},
): Promise<ReloadAcks> {
  const block = blockMs > 0 ? ['BLOCK', String(Math.ceil(blockMs))] : [];
  const stream = store.keys.pluginReloadAck(reloadId);
  const reply = await connection.run(
    redis => redis.callBuffer('XREAD', 'COUNT', String(count), ...block, 'STREAMS', stream, after),
    {timeoutMs: blockMs + 2000},
  );
  const entries = streamReply(reply);
  return {
    acks: entries.flatMap(({data}) => {
      const ack = data === undefined ? undefined : readable(() => readReloadAck(data));
      return ack === undefined ? [] : [ack];
    }),
    lastId: entries.at(-1)?.id ?? after,
  };
}

const keepScript = defineScript({
  file: 'keep-configs.lua',
  keys: ['configs'],
  args: ['hash', 'document', 'keep', 'ttlS'],
  reply: integer,
});

/** Keep a configuration of an agent type. @returns its number; the newest one again keeps its own. */
export function keepSnapshot(store: Store, agentType: string, snapshot: ConfigSnapshot): Promise<number> {
  return keepScript(
    store.commands,
    {
      keys: {configs: store.keys.configSnapshots(agentType)},
      args: {
        hash: snapshot.hash,
        document: JSON.stringify(snapshot),
        keep: KEPT_CONFIGS,
        ttlS: CONFIGS_TTL_S,
      },
    },
    RETRY,
  );
}

export async function renewSnapshots(store: Store, agentTypes: readonly string[]): Promise<void> {
  await store.commands.run(
    redis =>
      Promise.all(agentTypes.map(type => redis.expire(store.keys.configSnapshots(type), CONFIGS_TTL_S))),
    RETRY,
  );
}

/** @returns the newest configuration of an agent type that can be read, or the one with this hash. */
export async function findSnapshot(
  store: Store,
  agentType: string,
  hash?: string,
): Promise<ConfigSnapshot | undefined> {
  const key = store.keys.configSnapshots(agentType);
  return store.commands.run(async redis => {
    const number = await redis.hget(key, hash === undefined ? 'latest' : `h:${hash}`);
    const text = number === null ? null : await redis.hget(key, `v:${number}`);
    return text === null ? undefined : readSnapshot(text);
  }, RETRY);
}

export async function publishReport(store: Store, report: PluginReport): Promise<void> {
  const key = store.keys.workerPlugins(report.worker_id);
  await store.commands.run(redis => redis.set(key, JSON.stringify(report), 'EX', REPORT_TTL_S), RETRY);
}

export async function dropReport(store: Store, workerId: string): Promise<void> {
  await store.commands.run(redis => redis.del(store.keys.workerPlugins(workerId)), {retryForMs: 1000});
}

/** Reports of those of the workers that have plugins. */
export async function readReports(store: Store, workerIds: readonly string[]): Promise<PluginReport[]> {
  const texts = await getAll(
    store,
    workerIds.map(id => store.keys.workerPlugins(id)),
  );
  return texts.flatMap(text => (text === null ? [] : (readReport(text) ?? [])));
}
