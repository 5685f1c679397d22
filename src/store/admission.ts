/**
 * Circuits, quotas and fallbacks: the records by which routers, ours and those of every SDK, admit or turn away a
 * command (spec §7.2). What the SDKs read is written as they read it; what is beside it they ignore.
 */
import {
  encodeCircuit,
  encodeFallback,
  encodeQuota,
  isReadableRecord,
  readCircuit as circuitIn,
  readFallback as fallbackIn,
  readQuota as quotaIn,
  readQuotaLimit as quotaLimitIn,
  readSource,
  encodeQuotaLimit,
  type QuotaLimit,
  type RecordSource,
} from '../protocol/routing.js';
import {defineScript, flag} from './script.js';
import {getAll, scanKeys, serverTimeMs, type Store} from './store.js';

interface Stored {
  /** Milliseconds until the record goes by itself; null for one that stays until somebody removes it. */
  readonly expiresInMs: number | null;
  /** Whether it is a JSON object at all. SDKs ignore what is not. */
  readonly readable: boolean;
  /** As it is stored. */
  readonly text: string;
}

export interface CircuitRecord extends Stored {
  readonly agentType: string;
  /** Whether routers turn commands away. */
  readonly open: boolean;
  /** '' if nobody gave one. */
  readonly reason: string;
  readonly source: RecordSource;
  /** Its time is over: one command is, or may be, let through to try. */
  readonly halfOpen: boolean;
}

/** What is said of a user: that it may send or not, how much it may send in a window, or both. */
export interface QuotaRecord extends Stored {
  readonly userCode: string;
  /** Whether the user may still send. */
  readonly available: boolean;
  readonly reason: string;
  /** `auto`: a limit is used up. */
  readonly source: RecordSource;
  /** Null where only an operator says whether the user may send. */
  readonly limit: QuotaLimitRecord | null;
}

export interface QuotaLimitRecord {
  readonly limit: number;
  readonly windowMs: number;
  /** Commands accepted in the window that is open. */
  readonly used: number;
  /** Milliseconds until the window ends; null while none is open. */
  readonly windowEndsInMs: number | null;
  /** Milliseconds until the limit itself goes; null for one that stays. */
  readonly expiresInMs: number | null;
}

export interface FallbackRecord extends Stored {
  readonly agentType: string;
  /** Who stands in, or '' where the record names nobody. */
  readonly selectedAgentType: string;
}

export interface AdmissionChange {
  /** Shown to whoever is turned away. Default ''. */
  readonly reason?: string;
  /** Milliseconds until it goes by itself. Default: it stays until somebody removes it. */
  readonly forMs?: number;
}

const RETRY = {retryForMs: 5000};

/** Stop all sending to an agent type, or say that it is under way again (`open` false stays visible as CLOSED). */
export function setCircuit(
  store: Store,
  agentType: string,
  change: AdmissionChange & {readonly open?: boolean; readonly source?: RecordSource},
): Promise<void> {
  const {open = true, reason = '', source = 'manual'} = change;
  return write(store, store.keys.circuit(agentType), encodeCircuit({open, reason, source}), change.forMs);
}

/** @returns whether there was one. */
export const clearCircuit = (store: Store, agentType: string): Promise<boolean> =>
  remove(store, store.keys.circuit(agentType));

/** @returns undefined where there is none. */
export async function readCircuit(store: Store, agentType: string): Promise<CircuitRecord | undefined> {
  const found = await read(store, store.keys.circuit(agentType));
  return found && {agentType, ...circuitFacts(found)};
}

/**
 * Open a circuit for a while, unless there is a record of any kind already.
 * @param change.exhaustedUntil as {@link ExhaustedCircuit.until}, where that is why.
 * @returns whether it was opened.
 */
export async function openAutoCircuit(
  store: Store,
  agentType: string,
  {forMs, ...circuit}: {readonly reason: string; readonly forMs: number; readonly exhaustedUntil?: number},
): Promise<boolean> {
  const text = encodeCircuit({...circuit, open: true, source: 'auto'});
  const key = store.keys.circuit(agentType);
  return (await store.commands.run(redis => redis.set(key, text, 'PX', Math.ceil(forMs), 'NX'))) === 'OK';
}

/** A circuit that is open because every worker of the agent type is exhausted. */
export interface ExhaustedCircuit {
  /** When the first of them recovers, in Unix milliseconds: it goes by itself then. */
  readonly until: number;
  /** As it is stored. */
  readonly text: string;
}

/** @returns those of the agent types, in the same order; undefined for none, and for a circuit of another kind. */
export async function exhaustedCircuits(
  store: Store,
  agentTypes: readonly string[],
): Promise<(ExhaustedCircuit | undefined)[]> {
  const texts = await getAll(
    store,
    agentTypes.map(type => store.keys.circuit(type)),
  );
  return texts.map(text => {
    const until = circuitIn(text).exhaustedUntil;
    return text === null || until === undefined ? undefined : {until, text};
  });
}

/** Close one, if it is still the same. @returns whether it was. */
export const closeExhaustedCircuit = (
  store: Store,
  agentType: string,
  {text}: ExhaustedCircuit,
): Promise<boolean> => dropSame(store, store.keys.circuit(agentType), text);

const dropSameScript = defineScript({
  file: 'drop-same.lua',
  keys: ['key'],
  args: ['value'],
  reply: flag,
});

const dropSame = (store: Store, key: string, value: string): Promise<boolean> =>
  dropSameScript(store.commands, {keys: {key}, args: {value}}, RETRY);

/**
 * Close a circuit that a manager opened; an operator's stays, and one that opened because executions failed: that a worker
 * is there again says nothing about it. @returns whether it was closed.
 */
export async function closeAutoCircuit(store: Store, agentType: string): Promise<boolean> {
  return removeAuto(store, store.keys.circuit(agentType));
}

/** Remove a record that is not an operator's, and not for workers to remove. */
async function removeAuto(store: Store, key: string): Promise<boolean> {
  const found = await read(store, key);
  if (found === undefined || readSource(found.text) !== 'auto') return false;
  if (circuitIn(found.text).halfOpen !== undefined) return false;
  return dropSame(store, key, found.text);
}

/** Failures of wakeups in a row are forgotten after this long without one, in seconds. */
const FAILURES_TTL_S = 3600;

/** Not repeated by itself: a failure must not count twice. @returns how many there were in a row. */
export async function countWakeupFailure(store: Store, agentType: string): Promise<number> {
  const key = store.keys.wakeupFailures(agentType);
  const [count] = await store.commands.run(redis =>
    Promise.all([redis.hincrby(key, 'in_a_row', 1), redis.expire(key, FAILURES_TTL_S)]),
  );
  return count;
}

export async function forgetWakeupFailures(store: Store, agentType: string): Promise<void> {
  await store.commands.run(redis => redis.del(store.keys.wakeupFailures(agentType)), RETRY);
}

/** Say whether a user may send. A limit of the user stays; saying that the user may begins its window anew. */
export async function setQuota(
  store: Store,
  userCode: string,
  change: AdmissionChange & {readonly available?: boolean},
): Promise<void> {
  const {available = false, reason = ''} = change;
  await write(store, store.keys.userQuota(userCode), encodeQuota({available, reason}), change.forMs);
  if (available) await beginWindowAnew(store, userCode);
}

async function beginWindowAnew(store: Store, userCode: string): Promise<void> {
  const key = store.keys.quotaLimit(userCode);
  const limit = quotaLimitIn((await read(store, key))?.text ?? '');
  if (limit === undefined) return;
  const text = encodeQuotaLimit({...limit, used: 0, endsAt: 0});
  await store.commands.run(redis => redis.call('SET', key, text, 'XX', 'KEEPTTL'), RETRY);
}

/**
 * Accept so many commands of a user in a window, in place of an earlier limit. The window begins with the next command.
 * What an operator said of the user before stays.
 */
export async function setQuotaLimit(
  store: Store,
  userCode: string,
  change: AdmissionChange & {readonly limit: number; readonly windowMs: number},
): Promise<void> {
  const {limit, windowMs, reason = '', forMs} = change;
  const text = encodeQuotaLimit({limit, windowMs, reason, used: 0, endsAt: 0});
  await write(store, store.keys.quotaLimit(userCode), text, forMs);
  // That the earlier limit was used up holds no longer.
  await removeAuto(store, store.keys.userQuota(userCode));
}

/** Both what is said of a user and its limit. @returns whether there was either. */
export async function clearQuota(store: Store, userCode: string): Promise<boolean> {
  const {keys} = store;
  const own = [keys.quotaLimit(userCode), keys.userQuota(userCode)];
  return (await store.commands.run(redis => redis.del(own), RETRY)) > 0;
}

/** @returns undefined where there is none. */
export async function readQuota(store: Store, userCode: string): Promise<QuotaRecord | undefined> {
  const {keys} = store;
  const [record, limit, nowMs] = await Promise.all([
    read(store, keys.userQuota(userCode)),
    read(store, keys.quotaLimit(userCode)),
    serverTimeMs(store),
  ]);
  return record || limit ? quotaFacts(userCode, record, limit, nowMs) : undefined;
}

/** Name the agent type that takes commands while this one is offline. */
export function setFallback(
  store: Store,
  agentType: string,
  change: {readonly selectedAgentType: string; readonly forMs?: number},
): Promise<void> {
  return write(store, store.keys.fallback(agentType), encodeFallback(change.selectedAgentType), change.forMs);
}

/** @returns whether there was one. */
export const clearFallback = (store: Store, agentType: string): Promise<boolean> =>
  remove(store, store.keys.fallback(agentType));

/** @returns undefined where there is none. */
export async function readFallback(store: Store, agentType: string): Promise<FallbackRecord | undefined> {
  const found = await read(store, store.keys.fallback(agentType));
  return found && {agentType, ...fallbackFacts(found)};
}

export interface Admission {
  readonly circuits: readonly CircuitRecord[];
  readonly quotas: readonly QuotaRecord[];
  readonly fallbacks: readonly FallbackRecord[];
}

/** Everything there is, by name. Walks all keys: for operators' commands. */
export async function listAdmission(store: Store): Promise<Admission> {
  const {keys} = store;
  const [circuits, quotas, fallbacks] = await Promise.all([
    recordsUnder(store, id => keys.circuit(id)),
    listQuotas(store),
    recordsUnder(store, id => keys.fallback(id)),
  ]);
  return {
    circuits: [...circuits].map(([agentType, found]) => ({agentType, ...circuitFacts(found)})),
    quotas,
    fallbacks: [...fallbacks].map(([agentType, found]) => ({agentType, ...fallbackFacts(found)})),
  };
}

function circuitFacts(found: Found) {
  const readable = isReadableRecord(found.text);
  const {open, reason, halfOpen} = circuitIn(found.text);
  const isHalfOpen = halfOpen !== undefined && (found.expiresInMs ?? Infinity) <= halfOpen.ms;
  return {...found, open, reason, halfOpen: isHalfOpen, readable, source: readSource(found.text)};
}

async function listQuotas(store: Store): Promise<QuotaRecord[]> {
  const {keys} = store;
  const [quotas, limits, nowMs] = await Promise.all([
    recordsUnder(store, id => keys.userQuota(id)),
    recordsUnder(store, id => keys.quotaLimit(id)),
    serverTimeMs(store),
  ]);
  const users = [...new Set([...quotas.keys(), ...limits.keys()])].sort();
  return users.map(userCode => quotaFacts(userCode, quotas.get(userCode), limits.get(userCode), nowMs));
}

function quotaFacts(
  userCode: string,
  found: Found | undefined,
  limit: Found | undefined,
  nowMs: number,
): QuotaRecord {
  const {text = '', expiresInMs = null} = found ?? {};
  const record = found?.text ?? null;
  return {
    ...{userCode, text, expiresInMs, ...quotaIn(record)},
    ...{readable: isReadableRecord(record), source: readSource(record)},
    limit: limit === undefined ? null : limitFacts(limit, quotaLimitIn(limit.text), nowMs),
  };
}

function limitFacts(
  {expiresInMs}: Found,
  limit: QuotaLimit | undefined,
  nowMs: number,
): QuotaLimitRecord | null {
  if (limit === undefined) return null;
  const isOpen = limit.endsAt > nowMs;
  return {
    ...{limit: limit.limit, windowMs: limit.windowMs, used: isOpen ? limit.used : 0, expiresInMs},
    windowEndsInMs: isOpen ? Math.ceil(limit.endsAt - nowMs) : null,
  };
}

const fallbackFacts = (found: Found) => ({
  ...found,
  selectedAgentType: fallbackIn(found.text),
  readable: isReadableRecord(found.text),
});

interface Found {
  readonly text: string;
  readonly expiresInMs: number | null;
}

/** Records by the id in their key. */
async function recordsUnder(store: Store, keyOf: (id: string) => string): Promise<Map<string, Found>> {
  const [head = '', tail = ''] = keyOf('\0').split('\0');
  const names = (await scanKeys(store, `${globEscaped(head)}*${globEscaped(tail)}`)).sort();
  const records = await Promise.all(names.map(key => read(store, key)));
  return new Map(
    names.flatMap((key, i) => {
      const found = records[i];
      return found === undefined ? [] : [[key.slice(head.length, key.length - tail.length), found] as const];
    }),
  );
}

const globEscaped = (text: string): string => text.replace(/[\\*?[\]]/g, '\\$&');

async function read(store: Store, key: string): Promise<Found | undefined> {
  const [text, ttlMs] = await store.commands.run(
    redis => Promise.all([redis.get(key), redis.pttl(key)]),
    RETRY,
  );
  return text === null ? undefined : {text, expiresInMs: ttlMs >= 0 ? ttlMs : null};
}

async function write(store: Store, key: string, text: string, forMs: number | undefined): Promise<void> {
  await store.commands.run(
    redis => (forMs === undefined ? redis.set(key, text) : redis.set(key, text, 'PX', Math.ceil(forMs))),
    RETRY,
  );
}

const remove = async (store: Store, key: string): Promise<boolean> =>
  (await store.commands.run(redis => redis.del(key), RETRY)) === 1;
