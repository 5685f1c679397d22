/** The status of workers, as it is kept in Redis: changed by one script, read for people and by sweeps. */
import {snakeCase} from '../snake-case.js';
import {ByError} from '../errors.js';
import {
  decodeLedger,
  decodeStatus,
  WHOLE_WORKER,
  type AgentStatus,
  type AgentStatusRecord,
  type ExhaustReason,
  type LedgerRow,
  type RecoverySource,
  type SlotType,
  type StatusOrigin,
} from '../protocol/orchestration/status.js';
import {createStatusKeys} from '../protocol/orchestration/status-keys.js';
import type {Connection} from './connection.js';
import {defineScript, texts} from './script.js';
import {serverNowMs, type Store} from './store.js';

const applyScript = defineScript({
  file: 'orch-status-apply.lua',
  keys: ['record', 'heartbeats', 'recoveries', 'index', 'audit', 'ledger', 'counted'],
  args: ['workerId', 'op', 'version', 'params', 'marker'],
  reply: texts,
});

/** What can happen to a worker's status; the script's header says what each does. Times are Unix milliseconds. */
export type StatusChange =
  | {
      readonly op: 'heartbeat';
      readonly agentTypes: readonly string[];
      readonly origin: StatusOrigin;
      readonly slotsUsed?: number;
      readonly slotsMax?: number;
      readonly firstSlotType?: SlotType;
      readonly reserveOnCall?: boolean;
      /** When it was heard. Default now. */
      readonly at?: number;
      /** An exhaustion the ledger knows holds again after an absence. */
      readonly reexhaust: boolean;
    }
  | {readonly op: 'take'; readonly slotType: SlotType; readonly observed: boolean}
  | {readonly op: 'release'}
  | ({readonly op: 'exhaust'; readonly scope: string} & Exhaustion)
  | {readonly op: 'recover'; readonly scope: string; readonly by: string; readonly note: string}
  | {readonly op: 'due' | 'timeout' | 'leave'};

export interface Exhaustion {
  readonly reason: ExhaustReason;
  readonly source: RecoverySource;
  /** When it ends, or in how many milliseconds. Default: as long as {@link StatusLimits} say. */
  readonly recoveryAt?: number;
  readonly recoveryInMs?: number;
  /** What was said of the end was not believed as it was. */
  readonly clamped?: boolean;
  /** The execution whose error says so: it counts once. */
  readonly executionId?: string;
  /** Who says so, and why. */
  readonly by?: string;
  readonly note?: string;
}

/** Milliseconds. */
export interface StatusLimits {
  /** Silence that makes a worker offline. */
  readonly timeoutMs: number;
  /** An exhaustion of which nobody says when it ends. */
  readonly defaultMs: number;
  readonly minMs: number;
  readonly maxMs: number;
}

export interface StatusOutcome {
  /**
   * `missing`, `conflict`, `illegal` and `known` (the execution was counted before): nothing was written. `kept`: the status
   * is what it was.
   */
  readonly verdict: 'changed' | 'kept' | 'missing' | 'conflict' | 'illegal' | 'known';
  /** Unix milliseconds by Redis's clock. */
  readonly now: number;
  /** Undefined where there was no record. */
  readonly before: AgentStatus | undefined;
  /** As it is now. */
  readonly record: AgentStatusRecord | undefined;
}

/**
 * @param version what the record's must be; undefined for any.
 * Safe to repeat for all but `take` and `release`, which are not repeated.
 */
export async function applyStatus(
  store: Store,
  workerId: string,
  {op, ...params}: StatusChange,
  limits: StatusLimits,
  version?: number,
): Promise<StatusOutcome> {
  const keys = createStatusKeys(store.keys.prefix);
  const scope = 'scope' in params ? params.scope : WHOLE_WORKER;
  const named = Object.entries({...params, ...limits}).map(([name, value]): [string, unknown] => [
    snakeCase(name),
    value,
  ]);
  const record = keys.agentStatus(workerId);
  const executionId = 'executionId' in params ? params.executionId : undefined;
  const isCount = op === 'take' || op === 'release';
  const [verdict, now, before, ...fields] = await applyScript(
    store.commands,
    {
      keys: {
        record,
        heartbeats: keys.statusHeartbeats(),
        recoveries: keys.statusRecoveries(),
        index: keys.statusIndex(),
        audit: keys.statusAudit(),
        ledger: keys.exhaustion(workerId, scope),
        // Workers may not touch the others, and need not.
        counted: executionId === undefined ? record : keys.countedError(executionId),
      },
      args: {
        ...{workerId, op, version: version ?? ''},
        params: JSON.stringify(Object.fromEntries(named)),
        marker: keys.exhaustedWorkers(''),
      },
    },
    isCount ? {} : {retryForMs: 2000},
  );
  return {
    verdict: verdict as StatusOutcome['verdict'],
    now: Number(now),
    before: (before || undefined) as AgentStatus | undefined,
    record: decodeStatus(pairsOf(fields)),
  };
}

function pairsOf(flat: readonly string[]): Record<string, string> {
  const pairs: Record<string, string> = {};
  for (let i = 0; i + 1 < flat.length; i += 2) pairs[flat[i] ?? ''] = flat[i + 1] ?? '';
  return pairs;
}

/** Records of the named workers, in the same order; undefined where there is none. */
export async function readStatuses(
  store: Store,
  workerIds: readonly string[],
): Promise<(AgentStatusRecord | undefined)[]> {
  const keys = createStatusKeys(store.keys.prefix);
  const hashes = await store.commands.run(
    redis => Promise.all(workerIds.map(id => redis.hgetall(keys.agentStatus(id)))),
    {retryForMs: 5000},
  );
  return hashes.map(decodeStatus);
}

/** Ids of all workers that have a status, those that are offline too. */
export async function workersWithStatus(store: Store): Promise<string[]> {
  const keys = createStatusKeys(store.keys.prefix);
  const ids = await store.commands.run(redis => redis.zrange(keys.statusIndex(), 0, '-1'), {
    retryForMs: 5000,
  });
  return ids.sort();
}

/** Whose time may have come: silent for longer than `timeoutMs`, or exhausted no longer. At most `limit` of each. */
export async function dueStatuses(
  store: Store,
  {timeoutMs, limit}: {readonly timeoutMs: number; readonly limit: number},
): Promise<{readonly silent: readonly string[]; readonly recovering: readonly string[]}> {
  const keys = createStatusKeys(store.keys.prefix);
  const now = await serverNowMs(store);
  const [silent, recovering] = await store.commands.run(
    redis =>
      Promise.all([
        redis.zrangebyscore(keys.statusHeartbeats(), '-inf', `(${now - timeoutMs}`, 'LIMIT', 0, limit),
        redis.zrangebyscore(keys.statusRecoveries(), '-inf', now, 'LIMIT', 0, limit),
      ]),
    {retryForMs: 5000},
  );
  return {silent, recovering};
}

/** The exhaustion of a worker, whether it holds still or not; undefined where none is known. */
export async function readLedger(
  store: Store,
  workerId: string,
  scope: string,
): Promise<LedgerRow | undefined> {
  const key = createStatusKeys(store.keys.prefix).exhaustion(workerId, scope);
  return decodeLedger(await store.commands.run(redis => redis.hgetall(key), {retryForMs: 5000}));
}

/** The longest a turn lasts. */
const TURN_MS = 4000;

/**
 * @param everyMs how often somebody should, in milliseconds.
 * @returns whether it is this caller's turn to read the status of foreign workers; others need not meanwhile.
 */
export async function takeStatusTurn(store: Store, everyMs: number): Promise<boolean> {
  const key = createStatusKeys(store.keys.prefix).statusTurn();
  const forMs = Math.max(1, Math.min(TURN_MS, Math.floor(everyMs * 0.8)));
  const taken = await store.commands.run(redis => redis.set(key, '1', 'PX', forMs, 'NX'), {
    retryForMs: 2000,
  });
  return taken === 'OK';
}

/** One entry of the audit: a change of status, an operator's decision, or what should not be. */
export interface StatusNote {
  readonly id: string;
  readonly kind: string;
  readonly workerId: string;
  /** Unix milliseconds by Redis's clock. */
  readonly at: number;
  readonly fields: Readonly<Record<string, string>>;
}

function toNote([id, flat]: [string, string[]]): StatusNote {
  const {kind = '', worker_id: workerId = '', at = '0', ...fields} = pairsOf(flat);
  return {id, kind, workerId, at: Number(at), fields};
}

/** The newest notes, newest first. */
export async function statusNotes(store: Store, count: number): Promise<StatusNote[]> {
  const key = createStatusKeys(store.keys.prefix).statusAudit();
  const rows = await store.commands.run(redis => redis.xrevrange(key, '+', '-', 'COUNT', count), {
    retryForMs: 5000,
  });
  return rows.map(toNote);
}

/** Notes after an id; waits for one for up to `blockMs` milliseconds. */
export async function readStatusNotes(
  store: Store,
  connection: Connection,
  after: string,
  blockMs: number,
): Promise<StatusNote[]> {
  const key = createStatusKeys(store.keys.prefix).statusAudit();
  const reply = await connection.run(
    redis => redis.xread('COUNT', 100, 'BLOCK', Math.max(1, blockMs), 'STREAMS', key, after),
    {timeoutMs: blockMs + 2000},
  );
  return (reply?.[0]?.[1] ?? []).map(toNote);
}

/** The id after which what comes is new. */
export async function lastStatusNote(store: Store): Promise<string> {
  const [newest] = await statusNotes(store, 1);
  return newest?.id ?? '0-0';
}

/** @throws {ByError} NOT_FOUND */
export const unknownWorker = (workerId: string): ByError =>
  new ByError('NOT_FOUND', `Nothing is known of a worker "${workerId}".`, {
    hint: 'See who is there with `by agent list --workers`.',
    next: ['by agent list --workers'],
  });
