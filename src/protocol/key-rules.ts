/**
 * What bounds every key: its type, who writes it, and why it can not grow for ever (G11). docs/keys.md is this table for
 * people; the tests check the keyspace they leave behind against it.
 */
import {createKeys, SESSION_TTL_S, type KeyOptions, type KeySchema} from './keys.js';
import {createRunKeys} from './orchestration/keys.js';
import {
  ABILITIES_TTL_S,
  HISTORY_TTL_S,
  INDEX_TTL_S,
  POOL_TTL_S,
  RECORD_TTL_S,
  STEERING_TTL_S,
} from './orchestration/retention.js';
import {createScheduleKeys} from './orchestration/schedule-keys.js';
import {createStatusKeys} from './orchestration/status-keys.js';

export type KeyType = 'string' | 'hash' | 'set' | 'zset' | 'list' | 'stream';

export type KeyBound =
  /** Has a lifetime once what it tells of has ended, never more than this many seconds. */
  | {readonly kind: 'ended'; readonly seconds: number}
  /** Has a lifetime, never more than this many seconds. */
  | {readonly kind: 'ttl'; readonly seconds: number}
  /** Is trimmed to about so many entries. */
  | {readonly kind: 'cap'; readonly entries: number}
  /** What is settled leaves it: a stream holds what waits or is pending, a queue what is held back. */
  | {readonly kind: 'settled'}
  /** Names workers that have not left, or agent types. */
  | {readonly kind: 'members'}
  /** Kept until an operator removes it. */
  | {readonly kind: 'operator'}
  /** Never written by us: other SDKs bound it, or do not. */
  | {readonly kind: 'foreign'};

export interface KeyRule {
  /** Where its name is made: a function of {@link allKeys}. */
  readonly name: string;
  readonly type: KeyType;
  /** Who writes it, in the words of docs/architecture.md. */
  readonly owner: string;
  readonly bound: KeyBound;
}

type Table = Readonly<Record<string, readonly [type: KeyType, owner: string, bound: KeyBound]>>;

const ttl = (seconds: number): KeyBound => ({kind: 'ttl', seconds});
const ended = (seconds: number): KeyBound => ({kind: 'ended', seconds});
const settled: KeyBound = {kind: 'settled'};
const members: KeyBound = {kind: 'members'};
const operator: KeyBound = {kind: 'operator'};
const foreign: KeyBound = {kind: 'foreign'};

const TABLE: Table = {
  ctrlStream: ['stream', 'senders, workers', settled],
  workerCtrlStream: ['stream', 'senders, workers', settled],
  wakeup: ['stream', 'senders', settled],
  wakeupResult: ['stream', 'managers', ttl(300)],
  deliveryPending: ['stream', 'senders', settled],
  deadletter: ['stream', 'workers, managers, operators', operator],
  deadletterReplay: ['string', 'operators', ttl(604_800)],
  deadletterAudit: ['stream', 'operators', {kind: 'cap', entries: 10_000}],
  sessionDataStream: ['stream', 'workers', ttl(SESSION_TTL_S)],
  sessionRegistry: ['hash', 'senders, workers', ttl(SESSION_TTL_S)],
  workerLease: ['string', 'workers', ttl(30)],
  knownWorkers: ['set', 'workers', members],
  declaredTypes: ['set', 'workers', members],
  members: ['set', 'workers', members],
  denied: ['set', 'operators', operator],
  workerAdmin: ['hash', 'operators, sweepers', operator],
  adminWorkers: ['set', 'operators, sweepers', operator],
  circuit: ['string', 'operators, managers, workers, sweepers', operator],
  fallback: ['string', 'operators', operator],
  userQuota: ['string', 'operators, senders', operator],
  quotaLimit: ['string', 'operators, senders', operator],
  wakeupDedupe: ['string', 'managers', ttl(30)],
  wakeupWaiters: ['hash', 'managers', ttl(300)],
  wakeupFailures: ['hash', 'managers', ttl(3600)],
  executionEnds: ['hash', 'workers', ttl(3600)],
  circuitProbe: ['string', 'senders', ttl(86_401)],
  pendingQueue: ['zset', 'managers', settled],
  pendingPayloads: ['hash', 'managers', settled],
  onCallStream: ['stream', 'senders, workers', settled],
  onCallReaders: ['zset', 'workers', ttl(30)],
  pendingTypes: ['set', 'managers', members],
  userOpen: ['set', 'senders', ttl(SESSION_TTL_S)],
  deadlines: ['zset', 'senders, workers, managers', settled],
  journal: ['hash', 'senders, workers, managers', ttl(SESSION_TTL_S)],
  storage: ['hash', 'workers', ttl(SESSION_TTL_S)],
  history: ['hash', 'workers', ttl(SESSION_TTL_S)],
  timers: ['zset', 'workers, managers', settled],
  sessionOutbox: ['stream', 'senders, workers', ttl(SESSION_TTL_S)],
  openOutboxes: ['stream', 'senders', settled],
  appendedOnce: ['string', 'senders, workers, managers, operators', ttl(604_800)],
  goneSince: ['string', 'managers', ttl(172_801)],
  workerLogLevel: ['string', 'operators', ttl(604_800)],
  sweepTurn: ['string', 'managers', ttl(55)],
  recoveryTurn: ['string', 'workers', ttl(1)],
  agentConfigsSnapshot: ['string', 'workers', ttl(604_800)],
  pluginReload: ['hash', 'operators', operator],
  configSnapshots: ['hash', 'workers', ttl(2_592_000)],
  workerPlugins: ['string', 'workers', ttl(120)],
  workerMetrics: ['string', 'workers', ttl(120)],
  pluginReloadAck: ['stream', 'workers, operators', ttl(86_400)],
  taskGroup: ['hash', 'workers', ttl(SESSION_TTL_S)],
  taskGroupResults: ['hash', 'workers', ttl(SESSION_TTL_S)],
  metricsLock: ['string', 'workers', ttl(180)],
  metricsHistory: ['zset', 'workers', settled],
  traceMeta: ['hash', 'senders, workers', ttl(86_400)],
  traceSpans: ['list', 'senders, workers', ttl(86_400)],
  traceIndexSession: ['zset', 'senders, workers', ttl(86_400)],
  traceIndexWorker: ['zset', 'workers', ttl(86_400)],
  traceIndexAgent: ['zset', 'senders, workers', ttl(86_400)],

  agentStatus: ['hash', 'workers, sweepers, operators', ttl(604_800)],
  statusHeartbeats: ['zset', 'workers, sweepers, operators', ttl(604_800)],
  statusRecoveries: ['zset', 'workers, sweepers, operators', ttl(604_800)],
  statusIndex: ['zset', 'workers, sweepers, operators', ttl(604_800)],
  exhaustion: ['hash', 'workers, sweepers, operators', ttl(691_200)],
  exhaustedWorkers: ['string', 'workers, sweepers, operators', ttl(604_800)],
  statusAudit: ['stream', 'workers, sweepers, operators', {kind: 'cap', entries: 50_000}],
  countedError: ['string', 'sweepers', ttl(86_400)],
  statusTurn: ['string', 'sweepers', ttl(4)],

  sdServices: ['set', 'services', members],
  sdInstances: ['hash', 'services', members],
  sdActive: ['zset', 'services', members],

  workerLock: ['string', 'other SDKs', foreign],
  checkpoint: ['string', 'other SDKs', foreign],
  availability: ['string', 'other SDKs', foreign],
  workerStatus: ['hash', 'other SDKs', foreign],
  workerActiveSnapshots: ['hash', 'other SDKs', foreign],
  workerHistorySnapshots: ['hash', 'other SDKs', foreign],
  workerExecutions: ['zset', 'other SDKs', foreign],
  workerActiveIndex: ['zset', 'other SDKs', foreign],
  workerActiveExecutions: ['set', 'other SDKs', foreign],

  orchAgent: ['hash', 'operators', operator],
  orchAgents: ['zset', 'operators', operator],
  orchAgentKey: ['string', 'operators', operator],
  orchTask: ['hash', 'senders, orchestrators', ended(RECORD_TTL_S)],
  orchRun: ['hash', 'senders, orchestrators', ended(RECORD_TTL_S)],
  orchAttempt: ['hash', 'senders, orchestrators', ended(RECORD_TTL_S)],
  orchRunAttempts: ['zset', 'senders, orchestrators', ended(RECORD_TTL_S)],
  orchIndex: ['zset', 'senders, orchestrators', ttl(INDEX_TTL_S)],
  orchSessionRuns: ['zset', 'senders, orchestrators', ttl(INDEX_TTL_S)],
  orchSessionQueue: ['zset', 'senders, orchestrators', settled],
  orchSessionKey: ['string', 'senders', ttl(RECORD_TTL_S)],
  orchLease: ['hash', 'orchestrators, workers', ended(RECORD_TTL_S)],
  orchIdempotency: ['string', 'senders', ttl(HISTORY_TTL_S)],
  orchReady: ['zset', 'senders, orchestrators', settled],
  orchDelayed: ['zset', 'senders, orchestrators', settled],
  orchExpiring: ['zset', 'senders, orchestrators', settled],
  orchPool: ['hash', 'senders, orchestrators', ttl(POOL_TTL_S)],
  orchPools: ['set', 'senders, orchestrators', settled],
  orchInflight: ['zset', 'orchestrators', settled],
  orchInputs: ['hash', 'senders, orchestrators', ended(RECORD_TTL_S)],
  orchEvents: ['stream', 'senders, orchestrators', ended(HISTORY_TTL_S)],
  orchSnapshots: ['stream', 'orchestrators', ended(RECORD_TTL_S)],
  orchLog: ['stream', 'senders, orchestrators', ended(HISTORY_TTL_S)],
  orchSteering: ['hash', 'workers, senders', ttl(STEERING_TTL_S)],
  orchApproval: ['hash', 'workers, orchestrators, operators', ttl(RECORD_TTL_S)],
  orchPendingApprovals: ['zset', 'workers, orchestrators, operators', settled],
  orchRunApprovals: ['zset', 'workers, orchestrators', ttl(RECORD_TTL_S)],
  orchAllowed: ['hash', 'operators', operator],
  orchScheduleEnds: ['zset', 'orchestrators, schedulers', settled],
  orchUndeliverable: ['stream', 'orchestrators', {kind: 'cap', entries: 10_000}],
  orchNodes: ['zset', 'orchestrators', ttl(30)],
  orchAbilities: ['string', 'workers', ttl(ABILITIES_TTL_S)],
  schedule: ['hash', 'operators, schedulers', operator],
  scheduleTicks: ['stream', 'schedulers', {kind: 'cap', entries: 1000}],
  scheduleName: ['string', 'operators', operator],
  schedules: ['zset', 'operators', operator],
  schedulesDue: ['zset', 'operators, schedulers', settled],
  schedulesFiring: ['zset', 'schedulers', settled],
};

/** Makers of every key that has a rule, by the rule's name. */
export const allKeys = (options: KeyOptions) => ({
  ...createKeys(options),
  ...createRunKeys(options),
  ...createScheduleKeys(options),
  ...createStatusKeys(options.prefix),
});

export const KEY_RULES: readonly KeyRule[] = Object.entries(TABLE).map(([name, [type, owner, bound]]) => ({
  name,
  type,
  owner,
  bound,
}));

/** A key's name with `{…}` in place of each id, as docs/keys.md shows it. */
export function keyPattern(name: string, schema: KeySchema): string {
  return nameParts(name, allKeys({schema})).join('{…}');
}

/** Their first part is another key, which may bring its own hash tag in v2, or be one. */
const NAMES_A_KEY: ReadonlySet<string> = new Set(['appendedOnce', 'recoveryTurn']);

/** @returns the rule of a key, or undefined if nobody may write it. */
export function ruleMatcher(schema: KeySchema, prefix: string): (key: string) => KeyRule | undefined {
  // Ids may hold colons, so several names can fit: the one that spells out most of the key is meant.
  const keys = allKeys({schema, prefix});
  const known = KEY_RULES.map(rule => {
    const parts = nameParts(rule.name, keys).map(part =>
      NAMES_A_KEY.has(rule.name) ? part.replace(/^}|{$/g, '') : part,
    );
    const pattern = new RegExp(`^${parts.map(escape).join('.+')}$`, 's');
    return {rule, pattern, spelt: parts.join('').length};
  }).sort((a, b) => b.spelt - a.spelt);
  return key => known.find(({pattern}) => pattern.test(key))?.rule;
}

/** What stands between the ids. */
function nameParts(name: string, keys: ReturnType<typeof allKeys>): string[] {
  const make = (keys as unknown as Record<string, (...ids: string[]) => string>)[name];
  if (make === undefined) throw new RangeError(`no key is called "${name}"`);
  return make('\0', '\0', '\0').split('\0');
}

const escape = (text: string): string => text.replace(/[.*+?^${}()|[\]\\]/g, '\\$&');
