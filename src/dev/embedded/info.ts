/** What the server says about itself: INFO, CONFIG, TIME, MEMORY, LATENCY and the like. */
import os from 'node:os';
import type {Args, Client} from './client.js';
import {globMatcher} from './glob.js';
import {parseInt64} from './numbers.js';
import {CommandError, MapReply, OK, syntaxError, VerbatimReply, type Reply} from './reply.js';
import {at, REDIS_VERSION, type Handler, type Store} from './store.js';

type Section = (store: Store) => [string, string | number][];

const sections: Record<string, Section> = {
  server: store => {
    const uptime = Math.floor((Date.now() - store.startedAt) / 1000);
    return [
      ['redis_version', REDIS_VERSION],
      ['redis_git_sha1', '00000000'],
      ['redis_git_dirty', 0],
      ['redis_build_id', '0'],
      ['redis_mode', 'standalone'],
      ['by_embedded', 1],
      ['os', `${os.type()} ${os.release()} ${os.arch()}`],
      ['arch_bits', 64],
      ['process_id', process.pid],
      ['run_id', store.runId],
      ['tcp_port', store.port],
      ['server_time_usec', Date.now() * 1000],
      ['uptime_in_seconds', uptime],
      ['uptime_in_days', Math.floor(uptime / 86_400)],
      ['hz', 10],
      ['executable', process.execPath],
      ['config_file', ''],
    ];
  },
  clients: store => [
    ['connected_clients', store.clients.size],
    ['cluster_connections', 0],
    ['maxclients', 10_000],
    ['blocked_clients', store.blocking.count],
    ['tracking_clients', 0],
    ['clients_in_timeout_table', 0],
  ],
  memory: store => [
    ['used_memory', store.shared.usedBytes],
    ['used_memory_human', `${(store.shared.usedBytes / 1024 / 1024).toFixed(2)}M`],
    ['used_memory_rss', process.memoryUsage.rss()],
    ['used_memory_dataset', store.shared.usedBytes],
    ['maxmemory', store.maxMemoryBytes],
    ['maxmemory_human', `${(store.maxMemoryBytes / 1024 / 1024).toFixed(2)}M`],
    ['maxmemory_policy', 'noeviction'],
    ['mem_fragmentation_ratio', '1.00'],
    ['mem_allocator', 'v8'],
    ['number_of_cached_scripts', store.scripts.size],
  ],
  persistence: store => [
    ['loading', 0],
    ['async_loading', 0],
    ['rdb_changes_since_last_save', store.shared.changes],
    ['rdb_bgsave_in_progress', 0],
    ['rdb_last_save_time', Math.floor(store.startedAt / 1000)],
    ['rdb_last_bgsave_status', 'ok'],
    ['aof_enabled', 0],
    ['aof_rewrite_in_progress', 0],
    ['aof_last_write_status', 'ok'],
  ],
  stats: store => [
    ['total_connections_received', store.totalConnections],
    ['total_commands_processed', store.totalCommands],
    ['instantaneous_ops_per_sec', 0],
    ['rejected_connections', 0],
    ['expired_keys', store.shared.expired],
    ['evicted_keys', 0],
    ['keyspace_hits', store.shared.hits],
    ['keyspace_misses', store.shared.misses],
    ['pubsub_channels', store.pubsub.channelCount],
    ['pubsub_patterns', store.pubsub.patternCount],
    ['total_error_replies', [...store.errorStats.values()].reduce((sum, count) => sum + count, 0)],
  ],
  replication: () => [
    ['role', 'master'],
    ['connected_slaves', 0],
    ['master_repl_offset', 0],
  ],
  cpu: () => {
    const {user, system} = process.cpuUsage();
    return [
      ['used_cpu_sys', (system / 1e6).toFixed(6)],
      ['used_cpu_user', (user / 1e6).toFixed(6)],
    ];
  },
  modules: () => [],
  commandstats: store =>
    [...store.commandStats].map(([name, {calls, microseconds, rejected, failed}]) => [
      `cmdstat_${name}`,
      `calls=${calls},usec=${Math.round(microseconds)},usec_per_call=${(calls === 0 ? 0 : microseconds / calls).toFixed(2)},rejected_calls=${rejected},failed_calls=${failed}`,
    ]),
  errorstats: store => [...store.errorStats].map(([code, count]) => [`errorstat_${code}`, `count=${count}`]),
  cluster: () => [['cluster_enabled', 0]],
  keyspace: store =>
    store.databases
      .filter(db => db.keys.size > 0)
      .map(db => [`db${db.index}`, `keys=${db.keys.size},expires=${db.expiring},avg_ttl=0`]),
};
const NOT_BY_DEFAULT = new Set(['commandstats']);

export function info(_client: Client, args: Args, store: Store): Reply {
  const asked = args.slice(1).map(word => word.toLowerCase());
  const wanted = new Set(asked.filter(word => word in sections));
  if (asked.length === 0 || asked.includes('default')) {
    for (const name of Object.keys(sections)) if (!NOT_BY_DEFAULT.has(name)) wanted.add(name);
  }
  if (asked.includes('all') || asked.includes('everything')) {
    for (const name of Object.keys(sections)) wanted.add(name);
  }
  const text = Object.entries(sections)
    .filter(([name]) => wanted.has(name))
    .map(([name, section]) => {
      const lines = section(store).map(([field, value]) => `${field}:${value}\r\n`);
      return `# ${name === 'cpu' ? 'CPU' : `${name.charAt(0).toUpperCase()}${name.slice(1)}`}\r\n${lines.join('')}`;
    })
    .join('\r\n');
  return new VerbatimReply(text);
}

/** The settings clients ask for. Only maxmemory does anything; the others are kept and given back. */
export const defaultConfig = (maxMemoryBytes: number): Map<string, string> =>
  new Map([
    ['maxmemory', String(maxMemoryBytes)],
    ['maxmemory-policy', 'noeviction'],
    ['maxmemory-samples', '5'],
    ['appendonly', 'no'],
    ['appendfsync', 'everysec'],
    ['save', ''],
    ['dir', '/'],
    ['dbfilename', 'dump.rdb'],
    ['databases', '16'],
    ['timeout', '0'],
    ['tcp-keepalive', '300'],
    ['port', '0'],
    ['bind', '127.0.0.1'],
    ['protected-mode', 'yes'],
    ['maxclients', '10000'],
    ['hz', '10'],
    ['notify-keyspace-events', ''],
    ['lua-time-limit', '5000'],
    ['busy-reply-threshold', '5000'],
    ['slowlog-log-slower-than', '10000'],
    ['slowlog-max-len', '128'],
    ['latency-monitor-threshold', '0'],
    ['proto-max-bulk-len', '536870912'],
    ['stream-node-max-entries', '100'],
    ['stream-node-max-bytes', '4096'],
    ['hash-max-listpack-entries', '512'],
    ['list-max-listpack-size', '-2'],
    ['set-max-intset-entries', '512'],
    ['zset-max-listpack-entries', '128'],
    ['min-replicas-to-write', '0'],
    ['requirepass', ''],
    ['cluster-enabled', 'no'],
  ]);

export function configGet(_client: Client, args: Args, store: Store): Reply {
  const found = new Map<string, string>();
  for (const pattern of args.slice(2)) {
    const matches = globMatcher(pattern.toLowerCase());
    for (const [name, value] of store.config) if (matches(name)) found.set(name, value);
  }
  return new MapReply([...found].flat());
}

const UNITS: Record<string, number> = {
  '': 1,
  b: 1,
  k: 1000,
  kb: 1024,
  m: 1e6,
  mb: 1024 ** 2,
  g: 1e9,
  gb: 1024 ** 3,
};

function memorySize(text: string): number | undefined {
  const match = /^(\d+)([a-z]*)$/.exec(text.toLowerCase());
  const unit = UNITS[match?.[2] ?? '?'];
  return match === null || unit === undefined ? undefined : Number(match[1]) * unit;
}

export function configSet(_client: Client, args: Args, store: Store): Reply {
  if (args.length % 2 !== 0) throw new CommandError("ERR wrong number of arguments for 'config|set' command");
  const changes = new Map<string, string>();
  for (let i = 2; i < args.length; i += 2) {
    const name = at(args, i).toLowerCase();
    const value = at(args, i + 1);
    const refuse = (why: string) =>
      new CommandError(`ERR CONFIG SET failed (possibly related to argument '${at(args, i)}') - ${why}`);
    if (!store.config.has(name)) {
      throw new CommandError(`ERR Unknown option or number of arguments for CONFIG SET - '${at(args, i)}'`);
    }
    if (name === 'maxmemory') {
      const bytes = memorySize(value);
      if (bytes === undefined) throw refuse('argument must be a memory value');
      changes.set(name, String(bytes));
    } else if (name === 'maxmemory-policy' && value.toLowerCase() !== 'noeviction') {
      throw refuse('the embedded store never evicts; for another policy use --redis-url with a real server');
    } else if (name === 'appendonly' && value.toLowerCase() !== 'no') {
      throw refuse('the embedded store keeps data in memory only; use --redis-url with a real server');
    } else {
      changes.set(name, value);
    }
  }
  for (const [name, value] of changes) store.config.set(name, value);
  const maxMemory = changes.get('maxmemory');
  if (maxMemory !== undefined) store.maxMemoryBytes = Number(maxMemory);
  return OK;
}

export function configResetStat(_client: Client, _args: Args, store: Store): Reply {
  store.commandStats.clear();
  store.errorStats.clear();
  store.totalCommands = 0;
  store.totalConnections = 0;
  store.shared.hits = 0;
  store.shared.misses = 0;
  store.shared.expired = 0;
  return OK;
}

export const time: Handler = () => {
  const now = Date.now();
  const micro = Math.floor((performance.now() % 1) * 1000);
  return [String(Math.floor(now / 1000)), String((now % 1000) * 1000 + micro)];
};

/** No replica will ever acknowledge anything, so there is nothing to wait for. */
export const wait: Handler = (client, [, replicas, timeout], store) => {
  if (parseInt64(replicas) === undefined)
    throw new CommandError('ERR value is not an integer or out of range');
  const timeoutMs = parseInt64(timeout);
  if (timeoutMs === undefined) throw new CommandError('ERR timeout is not an integer or out of range');
  if (timeoutMs < 0) throw new CommandError('ERR timeout is negative');
  if (Number(replicas) <= 0) return 0;
  return store.blocking.wait(client, {
    keys: [],
    timeoutMs: Number(timeoutMs),
    serve: () => undefined,
    onTimeout: 0,
  });
};

export const slowlog: Handler = (_client, [, what]) => {
  switch (what.toUpperCase()) {
    case 'GET':
      return [];
    case 'LEN':
      return 0;
    case 'RESET':
      return OK;
    default:
      throw syntaxError();
  }
};

export const latency: Handler = (_client, [, what]) => (what.toUpperCase() === 'RESET' ? 0 : []);
