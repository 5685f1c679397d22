/**
 * Redis users, one for each role: what each may do, as the line `ACL SETUSER` takes. Keys of different kinds are granted
 * in selectors of their own, because a right to write a stream must not be a right to delete it. Commands inside our
 * scripts are checked like any other, so a right to run scripts on a key is not yet a right to change it.
 */
import {createKeys, type KeySchema, type Keys} from './keys.js';
import {createRunKeys} from './orchestration/keys.js';
import {createStatusKeys} from './orchestration/status-keys.js';

export const ACL_ROLES = ['client', 'worker', 'manager', 'viewer', 'service'] as const;
export type AclRole = (typeof ACL_ROLES)[number];

export interface AclOptions {
  readonly schema: KeySchema;
  /** The agent types a worker serves; `*` for all. */
  readonly agentTypes: readonly string[];
  /** What the ids of its workers begin with; '' for all. */
  readonly workerPrefix: string;
  /** Redis 7.2 or later, or Valkey: earlier ones refuse a rule that names commands they do not know. */
  readonly since72: boolean;
  /** Put in front of every key. */
  readonly prefix?: string;
}

/** One selector: these commands on keys like these. */
interface Grant {
  readonly commands: string;
  /** R reads, W writes, RW both. */
  readonly access: 'R' | 'W' | 'RW';
  readonly keys: readonly string[];
}

const CONNECTION =
  'ping hello auth client|setname client|getname client|id quit reset echo time select info ' +
  'command|docs command|info command|count multi exec discard wait';
const SINCE_72 = 'client|setinfo waitaof';
const CLUSTER =
  'cluster|slots cluster|shards cluster|nodes cluster|info cluster|keyslot cluster|myid asking readonly readwrite';
const READ_ALL =
  'xread xrange xrevrange xlen xpending xinfo|groups xinfo|consumers xinfo|stream hget hmget hgetall hlen hkeys hexists ' +
  'hscan get mget smembers sismember srandmember scard sscan zrange zrevrange zrangebyscore zscore zcard lrange llen exists type ttl pttl';

/**
 * The words after `ACL SETUSER name`. Applied again it replaces what the user may do, and keeps its passwords.
 */
export function aclRules(role: AclRole, options: AclOptions): string[] {
  const {schema, since72} = options;
  const connection = [
    CONNECTION,
    ...(since72 ? [SINCE_72] : []),
    ...(schema === 'v2' ? [CLUSTER] : []),
    // Ends a blocked read of one's own; Redis can not tell it from another's, so only those get it who need it to stop.
    ...(role === 'worker' || role === 'manager' ? ['client|unblock'] : []),
    ...(role === 'manager' || role === 'viewer' ? ['scan dbsize'] : []),
    ...(role === 'manager' ? ['client|list'] : []),
  ];
  return [
    ...['on', 'resetkeys', 'resetchannels', 'clearselectors', '-@all'],
    ...plus(connection.join(' ')),
    ...grantsOf(role, options).map(selector),
  ];
}

const plus = (commands: string): string[] => commands.split(' ').map(command => `+${command}`);

function selector({commands, access, keys}: Grant): string {
  const sign = access === 'RW' ? '~' : `%${access}~`;
  return `(${[...plus(commands), ...new Set(keys.map(key => sign + key))].join(' ')})`;
}

function grantsOf(role: AclRole, options: AclOptions): Grant[] {
  switch (role) {
    case 'client':
      return clientGrants(options);
    case 'worker':
      return workerGrants(options);
    case 'manager':
      return [
        {
          commands:
            '@stream @hash @set @sortedset set get mget del unlink exists expire pexpire pexpireat persist ttl pttl type eval evalsha eval_ro evalsha_ro',
          access: 'RW',
          keys: everything(options),
        },
      ];
    case 'service':
      return serviceGrants(options);
    case 'viewer':
      return [
        {commands: READ_ALL, access: 'R', keys: everything(options)},
        // Scripts of which the server knows that they only look.
        {
          commands: `${READ_ALL} eval_ro evalsha_ro hvals zcount zrevrangebyscore`,
          access: 'R',
          keys: orchestration(options.prefix),
        },
      ];
  }
}

/** Where services are found. */
function discoveryKeys({schema, prefix = ''}: AclOptions): string[] {
  const keys = createKeys({schema, prefix});
  return [keys.sdServices(), keys.sdInstances('*'), keys.sdActive('*')];
}

const serviceGrants = (options: AclOptions): Grant[] => [
  {
    commands: 'hset hdel hmget zadd zrem zrange zrangebyscore sadd smembers',
    access: 'RW',
    keys: discoveryKeys(options),
  },
];

/** Every key of the deployment: the metrics keys, and those of orchestration, have names of their own. */
const everything = ({prefix = ''}: AclOptions): string[] => [
  `${prefix}byai_gateway:*`,
  `${prefix}by_framework:*`,
  ...orchestration(prefix),
];

/** Tasks, runs and what belongs to them. */
const orchestration = (prefix = ''): string[] => [`${prefix}byorch:v1:*`];

/** What both senders and workers touch of a session, of routing, and of what waits. */
function shared({schema, prefix = ''}: AclOptions) {
  const keys = createKeys({schema, prefix});
  const isV2 = schema === 'v2';
  return {
    keys,
    registry: keys.sessionRegistry('*'),
    events: keys.sessionDataStream('*'),
    /** Where commands are put. Workers' own streams are not among them: what is there can suspend a worker. */
    work: [keys.ctrlStream('*'), keys.onCallStream('*'), keys.wakeup(), keys.deliveryPending()],
    routing: [
      keys.circuit('*'),
      keys.fallback('*'),
      keys.userQuota('*'),
      keys.quotaLimit('*'),
      keys.members('*'),
      keys.workerLease('*'),
      keys.onCallReaders('*'),
      createStatusKeys(prefix).exhaustedWorkers('*'),
    ],
    /** Whoever sends counts what its user sends, and says so when the limit is used up. */
    quotas: [keys.userQuota('*'), keys.quotaLimit('*')],
    /** In a Cluster, documents on their way to other slots. */
    outbox: isV2 ? [keys.sessionOutbox('*')] : [],
    openOutboxes: isV2 ? [keys.openOutboxes()] : [],
    // The marker names a stream, and in v2 that name may bring braces of its own.
    once: isV2 ? [`${prefix}byai_gateway:v2:control_plane:by:once:*`] : [],
  };
}

/** Records of traces, where they are written. */
const traceGrants = (keys: Keys): Grant[] => [
  {commands: 'hset hmget expire', access: 'RW', keys: [keys.traceMeta('*')]},
  {commands: 'rpush expire', access: 'RW', keys: [keys.traceSpans('*')]},
  {
    commands: 'zadd zremrangebyscore expire',
    access: 'RW',
    keys: [keys.traceIndexSession('*'), keys.traceIndexWorker('*'), keys.traceIndexAgent('*')],
  },
];

const granted = (grants: readonly Grant[]): Grant[] => grants.filter(({keys}) => keys.length > 0);

function clientGrants(options: AclOptions): Grant[] {
  const {keys, registry, events, work, routing, quotas, outbox, openOutboxes, once} = shared(options);
  const backlog = keys.pendingQueue('*');
  const userOpen = keys.userOpen('*');
  const deadlines = keys.deadlines();
  const journal = keys.journal('*', '*');
  return granted([
    {commands: 'xadd', access: 'W', keys: work},
    {commands: 'xlen', access: 'R', keys: work},
    {
      commands: 'eval evalsha',
      access: 'RW',
      keys: [
        ...[registry, journal, ...work, ...routing, backlog, userOpen, deadlines],
        ...[...outbox, ...openOutboxes, ...once],
      ],
    },
    {commands: 'get mget smembers srandmember sismember exists ttl pttl', access: 'R', keys: routing},
    {commands: 'set del', access: 'RW', keys: quotas},
    {commands: 'set', access: 'W', keys: [keys.circuitProbe('*', '*')]},
    {commands: 'zcard', access: 'R', keys: [backlog]},
    {commands: 'scard sadd srem srandmember expire', access: 'RW', keys: [userOpen]},
    {commands: 'zadd', access: 'W', keys: [deadlines]},
    {
      commands: 'hset hsetnx hget hmget hgetall hdel hexists expire pexpire ttl pttl',
      access: 'RW',
      keys: [registry],
    },
    // A person's answer is an outcome of the journal.
    {commands: 'hget hgetall hset hincrby exists expire', access: 'RW', keys: [journal]},
    {
      commands: 'xread xrange xrevrange xlen exists xinfo|stream pttl ttl',
      access: 'R',
      keys: [events, keys.wakeupResult('*')],
    },
    {commands: 'set get', access: 'RW', keys: [keys.checkpoint('*', '*')]},
    ...traceGrants(keys),
    {commands: 'xadd xrange xdel xlen expire persist', access: 'RW', keys: outbox},
    {commands: 'xadd xdel', access: 'RW', keys: openOutboxes},
    {commands: 'set get', access: 'RW', keys: once},
    // Whoever sends may submit tasks, look at them and stop them.
    {
      commands:
        'eval evalsha eval_ro evalsha_ro get mget set expire persist exists hget hmget hgetall hvals hlen hset hsetnx hincrby hdel zadd zrem ' +
        'zcard zcount zrange zrevrange zrangebyscore zrevrangebyscore zremrangebyscore zscore sadd srem smembers xadd xrange xrevrange xlen xread',
      access: 'RW',
      keys: orchestration(keys.prefix),
    },
  ]);
}

/** A worker says how it is. */
function statusGrants({agentTypes, workerPrefix, prefix = ''}: AclOptions): Grant[] {
  const keys = createStatusKeys(prefix);
  const workers = `${workerPrefix}*`;
  const records = [keys.agentStatus(workers), keys.exhaustion(workers, '*')];
  const indexes = [keys.statusHeartbeats(), keys.statusRecoveries(), keys.statusIndex()];
  const markers = agentTypes.map(keys.exhaustedWorkers);
  return [
    {commands: 'eval evalsha', access: 'RW', keys: [...records, ...indexes, ...markers, keys.statusAudit()]},
    {commands: 'hgetall hset del expire pexpireat', access: 'RW', keys: records},
    {commands: 'zadd zrem zremrangebyscore expire', access: 'RW', keys: indexes},
    {commands: 'get set del', access: 'RW', keys: markers},
    {commands: 'xadd', access: 'W', keys: [keys.statusAudit()]},
  ];
}

function workerGrants(options: AclOptions): Grant[] {
  const {keys, registry, events, work, routing, openOutboxes} = shared(options);
  const {agentTypes, workerPrefix} = options;
  const workers = `${workerPrefix}*`;
  const runKeys = createRunKeys(options);
  const ownStreams = [
    ...agentTypes.flatMap(type => [keys.ctrlStream(type), keys.onCallStream(type)]),
    keys.workerCtrlStream(workers),
  ];
  const lease = keys.workerLease(workers);
  const memberships = [...agentTypes.map(keys.members), keys.declaredTypes(workers), keys.knownWorkers()];
  const reads = [...agentTypes.map(keys.denied), keys.workerAdmin(workers), keys.workerLogLevel(workers)];
  const letters = keys.deadletter();
  const circuits = agentTypes.flatMap(type => [
    keys.circuit(type),
    keys.executionEnds(type),
    keys.circuitProbe(type, '*'),
  ]);
  // On any server, dead letters wait there for room.
  const outboxes = [keys.sessionOutbox('*')];
  const once = [`${keys.prefix}byai_gateway:${keys.schema === 'v2' ? 'v2:' : ''}control_plane:by:once:*`];
  return granted([
    {
      commands:
        'xreadgroup xack xdel xclaim xautoclaim xpending xlen xrange xadd xgroup|create xgroup|createconsumer ' +
        'xgroup|delconsumer xinfo|groups xinfo|consumers xinfo|stream',
      access: 'RW',
      keys: ownStreams,
    },
    {commands: 'expire persist', access: 'RW', keys: [keys.workerCtrlStream(workers)]},
    {commands: 'xadd', access: 'W', keys: [...work, letters]},
    {commands: 'xlen', access: 'R', keys: [...work, letters]},
    {
      commands: 'eval evalsha',
      access: 'RW',
      keys: [
        ...[registry, events, letters, ...ownStreams, ...work, lease, ...memberships, ...reads],
        ...[keys.deadlines(), keys.timers(), keys.journal('*', '*'), keys.storage('*', '*')],
        ...[keys.agentConfigsSnapshot('*'), ...outboxes, ...openOutboxes, ...once],
        // Agents call agents: a worker sends as a client does.
        ...[...routing, keys.pendingQueue('*'), keys.taskGroup('*'), keys.taskGroupResults('*')],
        ...circuits,
        keys.history('*'),
      ],
    },
    // They ask people what a policy does not let them do by themselves, and say what they can be held to.
    {
      commands: 'eval evalsha hget hset hexists exists expire zadd zrem zrange',
      access: 'RW',
      keys: [
        runKeys.orchApproval('*', '*'),
        runKeys.orchPendingApprovals('*'),
        runKeys.orchRunApprovals('*', '*'),
      ],
    },
    // An answer they hear may allow for good.
    {commands: 'eval evalsha hgetall hset', access: 'RW', keys: [runKeys.orchAllowed('*', '*')]},
    {commands: 'eval evalsha hset hgetall expire', access: 'RW', keys: [runKeys.orchSteering('*', '*')]},
    // They renew the lease of a session whose run they work on, and see whether another attempt has it.
    {commands: 'eval evalsha hmget hset', access: 'RW', keys: [runKeys.orchLease('*', '*')]},
    {commands: 'set', access: 'W', keys: [runKeys.orchAbilities(workers)]},
    // Of what they serve, where it may open because executions fail.
    {commands: 'get set del exists hincrby hgetall hdel pexpire', access: 'RW', keys: circuits},
    {commands: 'set', access: 'W', keys: [keys.circuitProbe('*', '*')]},
    {commands: 'zadd zrangebyscore zrem', access: 'RW', keys: [keys.deadlines(), keys.timers()]},
    {commands: 'zcard', access: 'R', keys: [keys.pendingQueue('*')]},
    {
      commands: 'eval evalsha zadd zrem zremrangebyscore zrange pexpireat',
      access: 'RW',
      keys: agentTypes.map(keys.onCallReaders),
    },
    {
      commands: 'hset hsetnx hget hmget hgetall hdel hincrby hexists hlen expire pexpire ttl pttl',
      access: 'RW',
      keys: [registry, keys.journal('*', '*'), keys.taskGroup('*'), keys.taskGroupResults('*')],
    },
    {
      commands: 'hset hdel hkeys hmget hlen exists expire',
      access: 'RW',
      keys: [keys.storage('*', '*')],
    },
    // Where history is kept in Redis.
    {commands: 'hget hmget hset hdel hincrby hexists expire', access: 'RW', keys: [keys.history('*')]},
    // A journal begins anew when a person continues the execution after its end.
    {commands: 'del', access: 'RW', keys: [keys.journal('*', '*')]},
    {
      commands: 'xadd xlen xread xrange xrevrange xinfo|stream exists expire pexpire ttl',
      access: 'RW',
      keys: [events],
    },
    {commands: 'set get del unlink exists expire pexpire ttl pttl', access: 'RW', keys: [lease]},
    {commands: 'sadd srem smembers sismember del unlink expire', access: 'RW', keys: memberships},
    {commands: 'get hget hmget hgetall sismember smembers', access: 'R', keys: reads},
    {commands: 'get mget smembers srandmember sismember exists ttl pttl', access: 'R', keys: routing},
    {commands: 'xread xrange', access: 'R', keys: [keys.wakeupResult('*')]},
    {commands: 'set del', access: 'RW', keys: ownStreams.map(keys.recoveryTurn)},
    // Agents call services.
    {commands: 'hmget zrange smembers', access: 'R', keys: discoveryKeys(options)},
    // What Python's workers keep beside.
    {
      commands: 'hset hget hgetall hdel hincrby expire zadd zrem zrange zremrangebyrank zcard',
      access: 'RW',
      keys: [
        ...[keys.workerStatus(workers), keys.workerActiveSnapshots(workers)],
        ...[keys.workerHistorySnapshots(workers), keys.workerExecutions(workers)],
        ...[keys.workerActiveIndex(workers)],
      ],
    },
    {commands: 'set get del expire', access: 'RW', keys: [keys.agentConfigsSnapshot('*')]},
    // Its plugins: what it was told to reload, what it answers, and what it has.
    {commands: 'hmget', access: 'R', keys: agentTypes.map(keys.pluginReload)},
    {
      commands: 'hget hset hincrby hdel hkeys expire eval evalsha',
      access: 'RW',
      keys: agentTypes.map(keys.configSnapshots),
    },
    {commands: 'xadd expire eval evalsha', access: 'RW', keys: [keys.pluginReloadAck('*')]},
    {commands: 'set del', access: 'RW', keys: [keys.workerPlugins(workers)]},
    ...statusGrants(options),
    {commands: 'set get mget del', access: 'RW', keys: [keys.workerMetrics(workers)]},
    ...traceGrants(keys),
    {commands: 'set get del expire', access: 'RW', keys: [keys.metricsLock()]},
    {commands: 'zadd zremrangebyscore', access: 'RW', keys: [keys.metricsHistory()]},
    {commands: 'xadd xrange xdel xlen expire persist', access: 'RW', keys: outboxes},
    {commands: 'xadd xdel xrange', access: 'RW', keys: openOutboxes},
    {commands: 'set get', access: 'RW', keys: once},
  ]);
}
