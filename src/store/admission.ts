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
  readCircuitSource,
  readFallback as fallbackIn,
  readQuota as quotaIn,
  type CircuitSource,
} from '../protocol/routing.js';
import {defineScript, flag} from './script.js';
import {scanKeys, type Store} from './store.js';

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
  readonly source: CircuitSource;
}

export interface QuotaRecord extends Stored {
  readonly userCode: string;
  /** Whether the user may still send. */
  readonly available: boolean;
  readonly reason: string;
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
  change: AdmissionChange & {readonly open?: boolean; readonly source?: CircuitSource},
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

/** Open a circuit for a while, unless there is a record already. @returns whether it was opened. */
export async function openAutoCircuit(
  store: Store,
  agentType: string,
  {reason, forMs}: {readonly reason: string; readonly forMs: number},
): Promise<boolean> {
  const text = encodeCircuit({open: true, reason, source: 'auto'});
  const key = store.keys.circuit(agentType);
  return (await store.commands.run(redis => redis.set(key, text, 'PX', Math.ceil(forMs), 'NX'))) === 'OK';
}

const dropSameScript = defineScript({
  file: 'drop-same.lua',
  keys: ['key'],
  args: ['value'],
  reply: flag,
});

/** Close a circuit that a manager opened; an operator's stays. @returns whether it was closed. */
export async function closeAutoCircuit(store: Store, agentType: string): Promise<boolean> {
  const key = store.keys.circuit(agentType);
  const found = await read(store, key);
  if (found === undefined || readCircuitSource(found.text) !== 'auto') return false;
  return dropSameScript(store.commands, {keys: {key}, args: {value: found.text}}, RETRY);
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

/** Say whether a user may send. */
export function setQuota(
  store: Store,
  userCode: string,
  change: AdmissionChange & {readonly available?: boolean},
): Promise<void> {
  const {available = false, reason = ''} = change;
  return write(store, store.keys.userQuota(userCode), encodeQuota({available, reason}), change.forMs);
}

/** @returns whether there was one. */
export const clearQuota = (store: Store, userCode: string): Promise<boolean> =>
  remove(store, store.keys.userQuota(userCode));

/** @returns undefined where there is none. */
export async function readQuota(store: Store, userCode: string): Promise<QuotaRecord | undefined> {
  const found = await read(store, store.keys.userQuota(userCode));
  return found && {userCode, ...quotaFacts(found)};
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
    recordsUnder(store, keys.circuit('')),
    recordsUnder(store, keys.userQuota('')),
    recordsUnder(store, keys.fallback('')),
  ]);
  return {
    circuits: circuits.map(([agentType, found]) => ({agentType, ...circuitFacts(found)})),
    quotas: quotas.map(([userCode, found]) => ({userCode, ...quotaFacts(found)})),
    fallbacks: fallbacks.map(([agentType, found]) => ({agentType, ...fallbackFacts(found)})),
  };
}

function circuitFacts(found: Found) {
  const readable = isReadableRecord(found.text);
  return {...found, ...circuitIn(found.text), readable, source: readCircuitSource(found.text)};
}

const quotaFacts = (found: Found) => ({
  ...found,
  ...quotaIn(found.text),
  readable: isReadableRecord(found.text),
});

const fallbackFacts = (found: Found) => ({
  ...found,
  selectedAgentType: fallbackIn(found.text),
  readable: isReadableRecord(found.text),
});

interface Found {
  readonly text: string;
  readonly expiresInMs: number | null;
}

async function recordsUnder(store: Store, prefix: string): Promise<[string, Found][]> {
  const names = (await scanKeys(store, `${globEscaped(prefix)}*`)).sort();
  const records = await Promise.all(names.map(key => read(store, key)));
  return names.flatMap((key, i) => {
    const found = records[i];
    return found === undefined ? [] : [[key.slice(prefix.length), found] as [string, Found]];
  });
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
