/**
 * Every Redis key we read or write: spec/wire-protocol.md §1. Other languages compute the same names, so a change
 * here is a protocol change. The part in {braces} is the cluster hash tag: keys that one script touches together
 * carry the same tag, or Redis Cluster refuses the script.
 *
 * Ids go into keys unescaped; whoever accepts an id from outside checks it first (`isValidId` in ids.ts).
 */
import {createHash} from 'node:crypto';
import {ByError} from '../errors.js';

/** v2 carries hash tags; v1 is the older layout, without them. */
export type KeySchema = 'v1' | 'v2';

export interface KeyOptions {
  readonly schema?: KeySchema;
  /** Put in front of every key. Empty in production; tests use it to share one server. */
  readonly prefix?: string;
}

/** Lifetime of a session's registry and data stream, in seconds: spec §1.1 and §1.3. */
export const SESSION_TTL_S = 604_800;

/** Consumer group of every control stream: spec §6.2. */
export const CONSUMER_GROUP = 'agent_engines';

/**
 * Group name the SDKs fall back to when none is given: spec §6.2. We only recognise it; two groups on one stream
 * run every command twice.
 */
export function autoGroupName(agentTypes: readonly string[]): string {
  const digest = createHash('sha1')
    .update([...agentTypes].sort().join(','))
    .digest('hex');
  return `byai_gateway:consumer_group:${CONSUMER_GROUP}:${digest.slice(0, 10)}`;
}

/**
 * Which layout a deployment uses: spec §0.3. Empty variables count as unset, unlike in the Python and Java SDKs.
 *
 * @throws {ByError} KEY_SCHEMA if REDIS_KEY_SCHEMA_VERSION is neither `v1` nor `v2`.
 */
export function selectKeySchema(env: Readonly<Record<string, string | undefined>>): KeySchema {
  const version = env['REDIS_KEY_SCHEMA_VERSION'] ?? '';
  if (version === 'v1' || version === 'v2') return version;
  if (version !== '') {
    throw new ByError('KEY_SCHEMA', `REDIS_KEY_SCHEMA_VERSION is "${version}", which names no key layout.`, {
      hint: 'Set REDIS_KEY_SCHEMA_VERSION to v1 or v2, in lower case, or unset it.',
    });
  }
  return (env['REDIS_CLUSTER_HOST'] ?? '') === '' ? 'v1' : 'v2';
}

export const escapeGlob = (text: string) => text.replace(/[*?[\]\\]/g, '\\$&');

/** An empty user code or region is written as `_`: spec §1.2 and K4. */
const orPlaceholder = (text: string) => (text === '' ? '_' : text);

/** Names of all keys of one deployment. The order is that of spec §1. */
export function createKeys({schema = 'v1', prefix = ''}: KeyOptions = {}) {
  const v2 = schema === 'v2';
  const base = `${prefix}byai_gateway:${v2 ? 'v2:' : ''}`;
  const traceBase = v2 ? `${base}trace:` : `${prefix}by_framework:trace:`;

  /** One key of a worker: `registry:worker:{what}:{id}`, in v2 `registry:worker:{{id}}:{what}`. */
  const worker = v2
    ? (what: string, id: string) => `${base}registry:worker:{${id}}:${what}`
    : (what: string, id: string) => `${base}registry:worker:${what}:${id}`;
  const agentType = v2
    ? (what: string, type: string) => `${base}registry:agent_type:{${type}}:${what}`
    : (what: string, type: string) => `${base}registry:agent_type:${what}:${type}`;
  const service = v2
    ? (what: string, name: string) => `${base}sd:{${name}}:${what}`
    : (what: string, name: string) => `${base}sd:${what}:${name}`;
  const tag = v2 ? (id: string) => `{${id}}` : (id: string) => id;

  const workerPattern = (what: string) => `${escapeGlob(prefix)}${worker(what, '*').slice(prefix.length)}`;
  const idIn = (make: (id: string) => string) => {
    const [head = '', tail = ''] = make('\0').split('\0');
    return (key: string): string | undefined => {
      if (!key.startsWith(head) || !key.endsWith(tail) || key.length <= head.length + tail.length)
        return undefined;
      return key.slice(head.length, key.length - tail.length);
    };
  };
  const denied = (type: string) => agentType('denied', type);
  const workerIdOf = (what: string) => idIn(id => worker(what, id));
  const sessionRegistry = (sessionId: string) => `${base}session:${tag(sessionId)}:registry`;
  const history = (sessionId: string) => `${base}control_plane:by:history:${tag(sessionId)}`;
  const ctrlStream = (type: string) => `${base}ctrl:agent_type:${type}`;
  /** The name of another key inside a key of ours, so that both share a Cluster slot. */
  const sameSlot = (key: string) => (v2 && !key.slice(prefix.length).includes('{') ? `{${key}}` : key);
  const wakeupDedupe = (type: string, userCode: string, region: string) =>
    `${base}control_plane:wakeup:dedupe:${dedupeParts(type, userCode, region)}`;
  const userQuota = (userCode: string) => `${base}control_plane:quota:user:${userCode}`;
  const circuit = (type: string) => `${base}control_plane:circuit:agent_type:${type}`;
  const onCallStream = (type: string) => `${base}control_plane:by:on_call:${sameSlot(ctrlStream(type))}`;
  const dedupeParts = (type: string, userCode: string, region: string) =>
    `${type}:${orPlaceholder(userCode)}:${orPlaceholder(region)}`;

  return {
    schema,
    prefix,

    // Streams, §1.1

    /** Commands for any worker of an agent type. */
    ctrlStream,
    /** Commands for one worker. */
    workerCtrlStream: (workerId: string) => `${base}ctrl:worker:${tag(workerId)}`,
    pluginReloadAck: (reloadId: string) => `${base}plugin_reload:${reloadId}:ack`,
    wakeup: () => `${base}control_plane:mgmt:wakeup`,
    wakeupResult: (executionId: string) => `${base}control_plane:mgmt:wakeup:result:${executionId}`,
    deliveryPending: () => `${base}control_plane:mgmt:delivery:pending`,
    deadletter: () => `${base}control_plane:mgmt:deadletter`,
    /** Events of a session, TTL 604,800 s. */
    sessionDataStream: (sessionId: string) => `${base}session:${tag(sessionId)}:data_stream`,

    // Strings, §1.2

    /** Presence with TTL: whoever's token is in it may run under this worker id. */
    workerLease: (workerId: string) => worker('online', workerId),
    /** Named by the SDKs, used by none: the lease is the lock (S9). */
    workerLock: (workerId: string) => worker('lock', workerId),
    checkpoint: (sessionId: string, consumer: string) =>
      `${base}session:${tag(sessionId)}:consumer:${consumer}:checkpoint`,
    agentConfigsSnapshot: (key: string) => `${base}agent_configs_snapshot:${key}`,
    circuit,
    fallback: (type: string) => `${base}control_plane:fallback:agent_type:${type}`,
    userQuota,
    /** Reserved: nothing reads or writes it. */
    availability: (type: string) => `${base}control_plane:availability:agent_type:${type}`,
    wakeupDedupe,
    /** The same in both schemas. */
    metricsLock: () => `${prefix}by_framework:obs:collector_lock`,

    // Hashes, §1.3

    sessionRegistry,
    taskGroup: (groupId: string) => `${base}task_group:${tag(groupId)}`,
    taskGroupResults: (groupId: string) => `${base}task_group:${tag(groupId)}:results`,
    workerStatus: (workerId: string) => worker('status', workerId),
    workerActiveSnapshots: (workerId: string) => worker('active_snapshots', workerId),
    workerHistorySnapshots: (workerId: string) => worker('history_snapshots', workerId),
    workerAdmin: (workerId: string) => worker('admin', workerId),
    sdInstances: (serviceName: string) => service('instances', serviceName),
    traceMeta: (traceId: string) => `${traceBase}${tag(traceId)}`,

    // Sets, sorted sets, lists, §1.4

    knownWorkers: () => `${base}registry:workers`,
    adminWorkers: () => `${base}registry:worker:admin_workers`,
    declaredTypes: (workerId: string) => worker('agent_types', workerId),
    /** Worker ids routable for an agent type; join with the lease, for nobody removes a crashed worker. */
    members: (type: string) => agentType('workers', type),
    denied,
    workerExecutions: (workerId: string) => worker('executions', workerId),
    workerActiveIndex: (workerId: string) => worker('active_execution_index', workerId),
    /** Legacy, unused: only there to be recognised. */
    workerActiveExecutions: (workerId: string) => worker('active_executions', workerId),
    sdServices: () => `${base}sd:services`,
    sdActive: (serviceName: string) => service('active', serviceName),
    traceSpans: (traceId: string) => `${traceBase}spans:${tag(traceId)}`,
    traceIndexSession: (sessionId: string) => `${traceBase}idx:session:${sessionId}`,
    traceIndexWorker: (workerId: string) => `${traceBase}idx:worker:${workerId}`,
    traceIndexAgent: (type: string) => `${traceBase}idx:agent:${type}`,
    /** The same in both schemas. */
    metricsHistory: () => `${prefix}by_framework:obs:history`,

    /** Where the TypeScript SDK keeps traces in v1 (K1): read beside ours, never written. The same as ours in v2. */
    tsTrace: {
      meta: (traceId: string) => (v2 ? `${base}trace:${tag(traceId)}` : `${base}trace:${traceId}:meta`),
      spans: (traceId: string) =>
        v2 ? `${base}trace:spans:${tag(traceId)}` : `${base}trace:${traceId}:spans`,
      indexSession: (sessionId: string) => `${base}trace:idx:session:${sessionId}`,
      indexWorker: (workerId: string) => `${base}trace:idx:worker:${workerId}`,
      indexAgent: (type: string) => `${base}trace:idx:agent:${type}`,
    },

    // Ours alone: other SDKs do not know them.

    /** Pending deliveries of an agent type, ordered; shares its hash tag with {@link pendingPayloads}. */
    pendingQueue: (type: string) => `${base}control_plane:by:pending:${tag(type)}`,
    pendingPayloads: (type: string) => `${base}control_plane:by:pending:${tag(type)}:payloads`,
    /** Stream of an agent type's on-call work, for workers that keep themselves free for it; in the slot of {@link ctrlStream}. */
    onCallStream,
    /** @returns undefined if the key is no stream of on-call work of this schema. */
    agentTypeOfOnCall: idIn(onCallStream),
    /** Workers that read {@link onCallStream}, by when they are forgotten: it is there only while there are any. */
    onCallReaders: (type: string) => `${base}control_plane:by:on_call_readers:${tag(type)}`,
    /** Agent types that have pending deliveries. */
    pendingTypes: () => `${base}control_plane:by:pending_types`,
    /** Unfinished commands of a user, counted only where a limit is set; what ended is taken out when it is full. */
    userOpen: (userCode: string) => `${base}control_plane:by:user_open:${userCode}`,
    /** How many commands of a user are accepted in a window, and how many were in this one; in the slot of {@link userQuota}. */
    quotaLimit: (userCode: string) => `${base}control_plane:by:quota_limit:${sameSlot(userQuota(userCode))}`,
    /** Executions with a deadline, by when somebody looks whether they have ended. */
    deadlines: () => `${base}control_plane:by:deadlines`,
    /** How many wakeups of an agent type failed in a row. */
    wakeupFailures: (type: string) => `${base}control_plane:by:wakeup_failures:${type}`,
    /** How executions of an agent type ended lately, where its circuit may open by that; in the slot of {@link circuit}. */
    executionEnds: (type: string) => `${base}control_plane:by:ends:${sameSlot(circuit(type))}`,
    /** Says that a command was let through an open circuit to try; in the slot of {@link circuit}. */
    circuitProbe: (type: string, opening: string) =>
      `${base}control_plane:by:probe:${sameSlot(circuit(type))}:${opening}`,
    /** Executions that wait for the wakeup another one asked for; in the slot of {@link wakeupDedupe}. */
    wakeupWaiters: (type: string, userCode: string, region: string) =>
      `${base}control_plane:by:wakeup_waiters:${sameSlot(wakeupDedupe(type, userCode, region))}`,
    /** Stream of documents on their way from a session to streams in other Cluster slots; in the session's slot. */
    sessionOutbox: (sessionId: string) => `${base}control_plane:by:outbox:${tag(sessionId)}`,
    /** What a durable execution asked for, and what came of it. In the session's slot. */
    journal: (sessionId: string, executionId: string) =>
      `${base}control_plane:by:journal:${tag(sessionId)}:${executionId}`,
    /** What a library keeps for a session. In the session's slot. */
    storage: (sessionId: string, name: string) => `${base}control_plane:by:storage:${tag(sessionId)}:${name}`,
    /** What was said in a session, for its agents. In the session's slot. */
    history,
    /** Timers of durable executions, by when they go off. */
    timers: () => `${base}control_plane:by:timers`,
    /** Stream of sessions whose outbox may hold something nobody carries on with. */
    openOutboxes: () => `${base}control_plane:by:open_outboxes`,
    /** Says that a document was appended to a stream; in the slot of the stream. */
    appendedOnce: (stream: string, token: string) =>
      `${base}control_plane:by:once:${sameSlot(stream)}:${token}`,
    /** Says that a dead letter was replayed: cli.md §8.6, TTL 7 days. */
    deadletterReplay: (entryId: string) => `${base}control_plane:mgmt:deadletter:replay:${entryId}`,
    deadletterAudit: () => `${base}control_plane:mgmt:deadletter:audit`,
    /** Since when a known worker has had no lease: by how much of its TTL has passed. In the worker's slot. */
    goneSince: (workerId: string) => `${base}control_plane:by:gone_since:${tag(workerId)}`,
    /** How much a worker is to log for a while. In the worker's slot. */
    workerLogLevel: (workerId: string) => `${base}control_plane:by:log_level:${tag(workerId)}`,
    /** The newest reload of an agent type's plugins: its number, its id and why. */
    pluginReload: (type: string) => `${base}control_plane:by:reload:${tag(type)}`,
    /** The last configurations of an agent type's plugins, by number. */
    configSnapshots: (type: string) => `${base}control_plane:by:configs:${tag(type)}`,
    /** What plugins a worker has, and how their hooks fare; TTL two minutes. */
    workerPlugins: (workerId: string) => `${base}control_plane:by:plugins:${tag(workerId)}`,
    /** What a worker says of the executions it ended; TTL two minutes. In the worker's slot. */
    workerMetrics: (workerId: string) => `${base}control_plane:by:metrics:${tag(workerId)}`,
    /** Lock with TTL: which manager sweeps. */
    sweepTurn: () => `${base}control_plane:by:sweep`,
    /** Lock with TTL: whose turn it is to look for dead consumers of a stream. In the stream's slot. */
    recoveryTurn: (stream: string) => `${base}control_plane:by:recovery:${sameSlot(stream)}`,

    // Scans and reverse parsing, §1.5

    /** MATCH pattern of all leases. In a Cluster, scan every primary. */
    leasePattern: () => workerPattern('online'),
    /** @returns undefined if the key is no lease of this schema. */
    workerIdOfLease: workerIdOf('online'),
    adminPattern: () => workerPattern('admin'),
    /** @returns undefined if the key is no admin hash of this schema. */
    workerIdOfAdmin: workerIdOf('admin'),
    deniedPattern: () => `${escapeGlob(prefix)}${denied('*').slice(prefix.length)}`,
    /** @returns undefined if the key is no set of workers barred from an agent type. */
    agentTypeOfDenied: idIn(denied),
    ctrlStreamPattern: () => `${escapeGlob(prefix)}${ctrlStream('*').slice(prefix.length)}`,
    sessionPattern: () => `${escapeGlob(prefix)}${sessionRegistry('*').slice(prefix.length)}`,
    /** @returns undefined if the key is no session's registry of this schema. */
    sessionIdOfRegistry: idIn(sessionRegistry),
    historyPattern: () => `${escapeGlob(prefix)}${history('*').slice(prefix.length)}`,
    /** @returns undefined if the key is no history of this schema. */
    sessionIdOfHistory: idIn(history),
  };
}

export type Keys = ReturnType<typeof createKeys>;
