/**
 * The plugins of one worker. What they registered serves until a reload has built the next configuration whole; turns that
 * began with the old one end with it. Numbers of reloads are kept in Redis, so a worker that missed a command catches up.
 */
import {ByError, messageOf} from '../errors.js';
import type {Logger} from '../log.js';
import {isEmptySnapshot, isPickledSnapshot} from '../protocol/agent-config.js';
import type {ConfigSnapshot, PluginReport} from '../protocol/config-snapshot.js';
import type {ExecutionRecord} from '../protocol/execution.js';
import {MAX_DOCUMENT_BYTES} from '../protocol/limits.js';
import {RELOAD_FAILURE, RELOAD_SUCCESS, type ReloadAck} from '../protocol/reload.js';
import {
  ackReload,
  dropReport,
  findSnapshot,
  keepSnapshot,
  newestReloads,
  publishReport,
  renewSnapshots,
  type NewestReload,
} from '../store/plugin-state.js';
import type {Store} from '../store/store.js';
import {
  auditOf,
  mergeConfigs,
  missingIn,
  restoreConfigs,
  snapshotConfigs,
  type Configs,
  type Registered,
} from './configuration.js';
import {HookKeeper, Hooks, type HookNote} from './hooks.js';
import {inTime, loadSource, type LoadedPlugin, type PluginSource} from './load-plugins.js';
import type {Plugin, PluginWorker} from './plugin.js';
import {assertNew, registeredBy} from './register.js';
import {TurnConfig} from './turn-config.js';

export interface PluginHostOptions {
  readonly store: Store;
  readonly sources: readonly PluginSource[];
  readonly settings?: Readonly<Record<string, unknown>> | undefined;
  readonly workerId: string;
  readonly agentTypes: readonly string[];
  readonly log: Logger;
  readonly now: () => number;
  /** Milliseconds a hook may take whose plugin says nothing else. Default 5000. */
  readonly hookTimeoutMs?: number | undefined;
  /** The worker itself, which tells others; not a process that runs one execution for it. */
  readonly isWorker: boolean;
  /** How often it says what plugins there are, and looks for reloads it was not told of. Default 10,000. */
  readonly reportEveryMs?: number;
  /** Told of every call of a hook. */
  readonly onHookCall?: (note: HookNote) => void;
}

/** A reload somebody asked for. */
export interface ReloadRequest {
  readonly reloadId: string;
  readonly reason: string;
  /** Whose workers were asked. */
  readonly agentType: string;
  /** Its number; undefined from a client of another SDK, which knows none. */
  readonly number: number | undefined;
}

/** One configuration of the worker, and who still works with it. */
interface Generation {
  readonly version: number;
  readonly hash: string;
  readonly configs: Configs;
  readonly plugins: readonly LoadedPlugin[];
  readonly hooks: Hooks;
  users: number;
  /** Set once another has taken its place. */
  whenUnused: (() => void) | undefined;
}

/** What a turn works with. */
export interface TurnUse {
  readonly hooks: Hooks;
  readonly config: TurnConfig;
  /** Take the configuration with this hash, which the execution began with. */
  pin(hash: string, record: ExecutionRecord): Promise<void>;
  /** Fields of the execution's record: which configuration it works with, for dashboards and for its next turn. */
  recordFields(): Record<string, unknown>;
  release(): void;
}

/** What of a configuration a turn works with. */
interface Chosen {
  readonly configs: Configs;
  readonly hash: string;
  readonly isOriginal: boolean;
}

interface Gathered {
  readonly plugins: readonly LoadedPlugin[];
  readonly registered: readonly Registered[];
  readonly errors: readonly ByError[];
}

const RENEW_EVERY_MS = 3_600_000;
/** Answers to reloads, and configurations of other generations, that are remembered. */
const REMEMBERED = 100;
/** A record is read and written whole at each of its steps. */
const MAX_AUDIT_BYTES = 32_768;

export class PluginHost {
  private readonly keeper: HookKeeper;
  private readonly worker: PluginWorker;
  private current: Generation;
  /** Numbers of the newest reloads that are part of {@link current}, and that were tried, by agent type. */
  private readonly loaded = new Map<string, number>();
  private readonly tried = new Map<string, number>();
  private readonly acks = new Map<string, ReloadAck>();
  private readonly kept = new Map<string, ConfigSnapshot>();
  private readonly audits = new Map<string, Record<string, unknown>>();
  /** Plugins that were replaced and are still in use. */
  private readonly leaving = new Set<readonly LoadedPlugin[]>();
  /** Why the configuration is not the plugins' own; '' if it is. */
  private problem = '';
  private queue: Promise<unknown> = Promise.resolve();
  private reportedAt = -Infinity;
  private renewedAt = performance.now();
  private isClosed = false;

  constructor(private readonly options: PluginHostOptions) {
    const {workerId, agentTypes, settings = {}, log} = options;
    this.worker = {workerId, agentTypes, settings, log};
    this.keeper = new HookKeeper(log, options.hookTimeoutMs, options.onHookCall);
    this.current = this.generation(0, new Map(), []);
  }

  /**
   * Load everything. If a plugin can not be loaded, the worker goes on with the last configuration its agent types had,
   * and with those of its plugins that can: loudly, for tools may be missing.
   * @throws {ByError} PLUGIN_LOAD_FAILED if none was kept; DENIED by the rules for plugin folders.
   */
  async load(): Promise<void> {
    // Before the files are read: a reload that is asked for meanwhile comes on top.
    const newest = await newestReloads(this.options.store, this.worker.agentTypes);
    const gathered = await this.gather(undefined);
    try {
      this.current = this.built(gathered);
    } catch (error) {
      if (!isLoadFailure(error)) throw error;
      await this.recover(gathered, error);
    }
    for (const {agentType, version} of newest) {
      if (this.problem === '') this.loaded.set(agentType, version);
      this.tried.set(agentType, version);
    }
    await this.keep();
  }

  /** How often the configuration was built. */
  get version(): number {
    return this.current.version;
  }

  /** Tell the plugins that the worker starts. */
  async startup(): Promise<void> {
    await this.current.hooks.run('onWorkerStartup', this.worker);
  }

  /** Tell the plugins that the worker ends, also those that were replaced. */
  async shutdown(): Promise<void> {
    this.isClosed = true;
    await this.current.hooks.run('onWorkerShutdown', this.worker);
    for (const plugins of this.leaving) await this.dismiss(plugins);
    if (this.options.isWorker) await dropReport(this.options.store, this.worker.workerId);
  }

  /** Now and then: say what plugins there are, and catch up on reloads that were missed. */
  async tick(): Promise<void> {
    const {reportEveryMs = 10_000} = this.options;
    if (this.isClosed || performance.now() - this.reportedAt < reportEveryMs) return;
    this.reportedAt = performance.now();
    await publishReport(this.options.store, this.report());
    await this.catchUp();
    if (performance.now() - this.renewedAt < RENEW_EVERY_MS) return;
    this.renewedAt = performance.now();
    await renewSnapshots(this.options.store, this.worker.agentTypes);
  }

  /** Reload, unless that was done, and say so to whoever asked. @returns the answer. */
  async reload(request: ReloadRequest): Promise<ReloadAck> {
    const work = this.queue.then(() => this.carryOut(request));
    this.queue = work.catch(() => undefined);
    const ack = await work;
    await ackReload(this.options.store, ack);
    return ack;
  }

  /** What a turn of an execution works with: the configuration its first turn had, where that is still known. */
  async begin(agentType: string, record: ExecutionRecord): Promise<TurnUse> {
    const generation = this.current;
    generation.users++;
    let isReleased = false;
    const release = () => {
      if (isReleased) return;
      isReleased = true;
      if (--generation.users === 0) generation.whenUnused?.();
    };
    const {version, hooks} = generation;
    const configOf = (chosen: Chosen) => new TurnConfig({agentType, version, ...chosen});
    let chosen: Chosen = {configs: generation.configs, hash: generation.hash, isOriginal: true};
    let config = configOf(chosen);
    const pin = async (hash: string, of: ExecutionRecord) => {
      if (hash === chosen.hash) return;
      chosen = await this.chosenFor(generation, agentType, hash, of);
      config = configOf(chosen);
    };
    try {
      const noted = record.extra['x_config'];
      if (typeof noted === 'string' && noted !== '') await pin(noted, record);
      else await this.noticePickle(record);
    } catch (error) {
      release();
      throw error;
    }
    return {
      hooks,
      get config() {
        return config;
      },
      pin,
      recordFields: () =>
        chosen.configs.size === 0 ? {} : this.recordFields(version, chosen.hash, agentType, chosen.configs),
      release,
    };
  }

  /** Count a call of a hook in a process that runs an execution for this worker. */
  noteHookCall(note: HookNote): void {
    this.keeper.note(note);
  }

  report(): PluginReport {
    const {version, hash, configs, plugins} = this.current;
    return {
      ...{schema: 1, worker_id: this.worker.workerId, agent_types: [...this.worker.agentTypes]},
      ...{at: this.options.now(), config_version: version, hash, problem: this.problem},
      agent_ids: [...configs.keys()],
      reloads: Object.fromEntries(this.loaded),
      plugins: plugins.map(({plugin: {manifest}, source}) => ({
        ...{name: manifest.name, version: manifest.version, description: manifest.description ?? '', source},
        hooks: Object.fromEntries(
          Object.entries(this.keeper.statistics.of(manifest.name)).map(([hook, count]) => [
            hook,
            {
              ...{calls: count.calls, failures: count.failures, timeouts: count.timeouts},
              ...{total_ms: rounded(count.totalMs), max_ms: rounded(count.maxMs)},
            },
          ]),
        ),
      })),
    };
  }

  private async carryOut({reloadId, reason, agentType, number}: ReloadRequest): Promise<ReloadAck> {
    const known = this.acks.get(reloadId);
    if (known !== undefined) return known;
    const newest = await newestReloads(this.options.store, this.worker.agentTypes);
    const versionBefore = this.current.version;
    const facts = {reloadId, workerId: this.worker.workerId, reason, versionBefore};
    let error = '';
    // Commands may come in any order: what counts is whether the newest is part of what serves.
    const target = newest.find(one => one.agentType === agentType);
    const isDone =
      number !== undefined &&
      this.problem === '' &&
      target !== undefined &&
      target.version === this.loaded.get(agentType);
    if (!isDone) error = await this.rebuild(newest, reloadId, reason);
    const ack: ReloadAck = {
      ...facts,
      status: error === '' ? RELOAD_SUCCESS : RELOAD_FAILURE,
      versionAfter: this.current.version,
      error,
    };
    remember(this.acks, reloadId, ack);
    if (this.options.isWorker) await publishReport(this.options.store, this.report());
    return ack;
  }

  /** @returns why it failed, or ''. */
  private async rebuild(newest: readonly NewestReload[], reloadId: string, reason: string): Promise<string> {
    for (const {agentType, version} of newest) this.tried.set(agentType, version);
    const old = this.current;
    try {
      const next = this.built(await this.gather({reloadId, reason}));
      const isIn = (plugins: readonly LoadedPlugin[], {plugin}: LoadedPlugin) =>
        plugins.some(one => one.plugin === plugin);
      const added = next.plugins.filter(one => !isIn(old.plugins, one)).map(({plugin}) => plugin);
      await new Hooks(added, this.keeper).run('onWorkerStartup', this.worker);
      this.current = next;
      this.problem = '';
      for (const {agentType, version} of newest) this.loaded.set(agentType, version);
      this.retire(
        old,
        old.plugins.filter(one => !isIn(next.plugins, one)),
      );
      this.options.log.info('plugins reloaded', {
        reload_id: reloadId,
        version: next.version,
        hash: next.hash,
      });
      await this.keep();
      return '';
    } catch (error) {
      this.options.log.error('plugins could not be reloaded: the old configuration serves on', {
        ...{reload_id: reloadId, version: old.version, error: messageOf(error)},
      });
      return messageOf(error).slice(0, 1024);
    }
  }

  private async catchUp(): Promise<void> {
    const newest = await newestReloads(this.options.store, this.worker.agentTypes);
    const missed = newest.find(
      ({agentType, version}) =>
        version !== 0 && version !== this.loaded.get(agentType) && version !== this.tried.get(agentType),
    );
    if (missed === undefined) return;
    const {agentType, version: number, reloadId, reason} = missed;
    await this.reload({reloadId, reason, agentType, number});
  }

  private retire(old: Generation, leaving: readonly LoadedPlugin[]): void {
    if (leaving.length === 0) return;
    this.leaving.add(leaving);
    old.whenUnused = () => void this.dismiss(leaving);
    if (old.users === 0) old.whenUnused();
  }

  private async dismiss(plugins: readonly LoadedPlugin[]): Promise<void> {
    if (!this.leaving.delete(plugins)) return;
    const hooks = new Hooks(
      plugins.map(({plugin}) => plugin),
      this.keeper,
    );
    await hooks.run('onWorkerShutdown', this.worker);
  }

  /** Load every source and ask every plugin. At a reload the first failure ends it; at the start all are collected. */
  private async gather(reload: {reloadId: string; reason: string} | undefined): Promise<Gathered> {
    const plugins: LoadedPlugin[] = [];
    const registered: Registered[] = [];
    const errors: ByError[] = [];
    const attempt = async (act: () => Promise<void>) => {
      try {
        await act();
      } catch (error) {
        if (reload !== undefined || !isLoadFailure(error)) throw error;
        errors.push(error);
      }
    };
    for (const source of this.options.sources) {
      await attempt(async () => {
        const loaded = await loadSource(source, this.worker, {fresh: reload !== undefined});
        for (const one of loaded) {
          assertNew(one, plugins);
          plugins.push(one);
        }
      });
    }
    for (const {plugin, source} of plugins) {
      await attempt(async () => {
        if (reload !== undefined) await this.reloadOne(plugin, source, reload);
        registered.push(await registeredBy(plugin, this.worker));
      });
    }
    return {plugins, registered, errors};
  }

  private async reloadOne(plugin: Plugin, source: string, reload: {reloadId: string; reason: string}) {
    if (plugin.reload === undefined) return;
    const {name} = plugin.manifest;
    const before = this.current.plugins.find(
      one => one.source === source && one.plugin.manifest.name === name && one.plugin !== plugin,
    );
    const late = new AbortController();
    const ctx = {...this.worker, ...reload, previous: before?.plugin, signal: late.signal};
    try {
      await inTime(
        `Plugin "${name}" can not reload`,
        (async () => {
          await plugin.reload?.(ctx);
        })(),
      );
    } finally {
      late.abort();
    }
  }

  /** @throws {ByError} PLUGIN_LOAD_FAILED */
  private built({plugins, registered, errors}: Gathered): Generation {
    const [first, ...more] = errors;
    if (first !== undefined) {
      if (more.length === 0) throw first;
      throw new ByError('PLUGIN_LOAD_FAILED', `${first.message} (${more.length} more failed)`, {
        hint: first.hint,
        cause: first,
      });
    }
    return this.generation(this.current.version + 1, mergeConfigs(registered), plugins);
  }

  private generation(version: number, configs: Configs, plugins: readonly LoadedPlugin[]): Generation {
    const hooks = new Hooks(
      plugins.map(({plugin}) => plugin),
      this.keeper,
    );
    const {hash} = snapshotConfigs(configs);
    return {version, configs, plugins, hooks, hash, users: 0, whenUnused: undefined};
  }

  private async recover({plugins, registered}: Gathered, error: ByError): Promise<void> {
    const {store, log} = this.options;
    for (const agentType of this.worker.agentTypes) {
      const kept = await findSnapshot(store, agentType);
      if (kept === undefined) continue;
      const loadable = new Map(registered.flatMap(({configs}) => configs.map(one => [one.agentId, one])));
      const configs = restoreConfigs(kept.configs, loadable);
      this.current = {...this.generation(0, configs, plugins), hash: kept.hash};
      this.problem = error.message;
      log.error('PLUGINS COULD NOT BE LOADED: the worker goes on with the last configuration that was kept', {
        ...{error: error.message, hint: error.hint, kept_by: kept.worker_id},
        ...{
          kept_at: new Date(kept.at).toISOString(),
          hash: kept.hash,
          missing: missingIn(configs).join(', '),
        },
      });
      return;
    }
    throw error;
  }

  /** Keep what serves now, so that a worker whose plugin breaks has something to start with. */
  private async keep(): Promise<void> {
    if (this.problem !== '') return;
    const {store, log, isWorker, now} = this.options;
    const {configs, plugins} = this.current;
    const kept: ConfigSnapshot = {
      ...{schema: 1, ...snapshotConfigs(configs), worker_id: this.worker.workerId, at: now()},
      plugins: plugins.map(({plugin: {manifest}}) => ({name: manifest.name, version: manifest.version})),
    };
    remember(this.kept, kept.hash, kept);
    if (!isWorker) return;
    const bytes = Buffer.byteLength(JSON.stringify(kept));
    if (bytes > MAX_DOCUMENT_BYTES) {
      log.warn('the configuration of the plugins is too large to be kept', {bytes, most: MAX_DOCUMENT_BYTES});
      return;
    }
    try {
      await Promise.all(this.worker.agentTypes.map(type => keepSnapshot(store, type, kept)));
    } catch (error) {
      // It serves all the same.
      log.warn('the configuration of the plugins could not be kept', {error: messageOf(error)});
    }
  }

  private async chosenFor(
    {configs, hash}: Generation,
    agentType: string,
    wanted: string,
    record: ExecutionRecord,
  ): Promise<Chosen> {
    if (wanted === hash) return {configs, hash, isOriginal: true};
    const kept = this.kept.get(wanted) ?? (await findSnapshot(this.options.store, agentType, wanted));
    if (kept !== undefined) {
      remember(this.kept, wanted, kept);
      return {configs: restoreConfigs(kept.configs, configs), hash: wanted, isOriginal: true};
    }
    this.options.log.warn('an execution goes on with another configuration than it began with', {
      ...{session_id: record.sessionId, execution_id: record.executionId, began_with: wanted, now: hash},
    });
    return {configs, hash, isOriginal: false};
  }

  /** A Python worker keeps what an execution began with as a pickle. That is code: it is left alone. */
  private async noticePickle({
    agentConfigsSnapshotKey: id,
    agentConfigsVersion,
    sessionId,
    executionId,
  }: ExecutionRecord) {
    if (id === undefined || id === '') return;
    const {store, log} = this.options;
    const text = await store.commands.run(redis => redis.get(store.keys.agentConfigsSnapshot(id)), {
      retryForMs: 5000,
    });
    if (text === null || !isPickledSnapshot(text) || isEmptySnapshot(text, agentConfigsVersion)) return;
    log.info('an execution began on a Python worker: its configuration is a pickle and is not read', {
      ...{session_id: sessionId, execution_id: executionId},
    });
  }

  private recordFields(version: number, hash: string, agentType: string, configs: Configs) {
    const name = `${version} ${hash} ${agentType}`;
    const known = this.audits.get(name);
    if (known !== undefined) return known;
    const audit = auditOf(version, agentType, configs);
    const isSmall = Buffer.byteLength(JSON.stringify(audit)) <= MAX_AUDIT_BYTES;
    const fields = {
      ...{agent_configs_version: version, x_config: hash},
      ...(isSmall ? {agent_config_audit: audit} : {}),
    };
    remember(this.audits, name, fields);
    return fields;
  }
}

/** For a worker without plugins: nothing is to be done, and whoever waits is told. */
export async function answerWithoutPlugins(
  store: Store,
  workerId: string,
  {reloadId, reason}: Pick<ReloadRequest, 'reloadId' | 'reason'>,
): Promise<void> {
  await ackReload(store, {
    ...{reloadId, workerId, status: RELOAD_SUCCESS, reason},
    ...{versionBefore: 0, versionAfter: 0, error: ''},
  });
}

const isLoadFailure = (error: unknown): error is ByError =>
  error instanceof ByError && error.code === 'PLUGIN_LOAD_FAILED';

function remember<T>(map: Map<string, T>, key: string, value: T): void {
  map.delete(key);
  map.set(key, value);
  const [oldest] = map.keys();
  if (map.size > REMEMBERED && oldest !== undefined) map.delete(oldest);
}

const rounded = (ms: number): number => Math.round(ms * 1000) / 1000;
