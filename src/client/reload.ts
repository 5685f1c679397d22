/** Reloading plugins: spec §3.6, §6.11, §8.5. */
import {ByError} from '../errors.js';
import {isValidId, newReloadId} from '../ids.js';
import {encodeSendable} from '../protocol/commands.js';
import {reloadHeader, type ReloadAck} from '../protocol/reload.js';
import type {ReloadResponse} from '../protocol/send-response.js';
import {onlineMembers} from '../store/presence.js';
import {boundAcks, nextReload, readAcks, sendReload, type ReloadAcks} from '../store/plugin-state.js';
import type {Store} from '../store/store.js';

export interface ReloadRequestOptions {
  /** Kept with the reload and in the answers. */
  readonly reason?: string;
  /** The same id is the same reload. Default: a new one. */
  readonly reloadId?: string;
  /** Goes with the command. */
  readonly metadata?: Readonly<Record<string, unknown>>;
}

/**
 * Tell every online worker of an agent type to reload its plugins. Workers that come later, or were cut off, learn of it
 * by its number. With nobody online it is kept for those that come.
 * @throws {ByError} INVALID_INPUT.
 */
export async function reloadPlugins(
  store: Store,
  agentType: string,
  {reason = '', reloadId = newReloadId(), metadata = {}}: ReloadRequestOptions = {},
): Promise<ReloadResponse> {
  for (const [what, id] of [
    ['an agent type', agentType],
    ['a reload id', reloadId],
  ] as const) {
    if (isValidId(id)) continue;
    throw new ByError('INVALID_INPUT', `"${id}" can not be ${what}.`, {
      hint: 'Letters, digits and . _ : @ - only.',
    });
  }
  // The number first: whoever starts after the look at who is online finds it.
  const version = await nextReload(store, agentType, {reloadId, reason});
  const {workerIds} = await onlineMembers(store, agentType);
  const header = reloadHeader(agentType, {...metadata, by_reload: version});
  await Promise.all(
    workerIds.map(workerId =>
      sendReload(
        store,
        workerId,
        encodeSendable({action: 'RELOAD_PLUGINS', header: {...header}, reloadId, reason}),
      ),
    ),
  );
  return {reloadId, agentType, workerIds: [...workerIds], dispatchedCount: workerIds.length};
}

/** Answers to a reload, of which Python's workers too. @param options.after `0-0` for all. */
export async function collectReloadAcks(
  store: Store,
  reloadId: string,
  {after = '0-0', blockMs = 0, count = 100}: {after?: string; blockMs?: number; count?: number} = {},
): Promise<ReloadAcks> {
  if (blockMs <= 0) return readAcks(store, store.commands, reloadId, {after, blockMs: 0, count});
  const connection = store.blocking('reload', store.keys.pluginReloadAck(reloadId));
  try {
    return await readAcks(store, connection, reloadId, {after, blockMs, count});
  } finally {
    connection.close();
  }
}

export interface AwaitedReload {
  /** The last answer of each worker. */
  readonly acks: readonly ReloadAck[];
  /** Workers that were told and have not answered. */
  readonly missing: readonly string[];
}

/** How long one read waits, in milliseconds. */
const READ_MS = 1000;

/** Wait until all who were told have answered, or the time is over. Workers that answer beside them are listed too. */
export async function awaitReload(
  store: Store,
  {reloadId, workerIds}: Pick<ReloadResponse, 'reloadId' | 'workerIds'>,
  {waitMs, signal}: {readonly waitMs: number; readonly signal?: AbortSignal},
): Promise<AwaitedReload> {
  const acks = new Map<string, ReloadAck>();
  const missing = () => workerIds.filter(id => !acks.has(id));
  const endsAt = performance.now() + waitMs;
  const connection = store.blocking('reload', store.keys.pluginReloadAck(reloadId));
  try {
    for (let after = '0-0'; missing().length > 0 && !signal?.aborted;) {
      const leftMs = endsAt - performance.now();
      const read = await readAcks(store, connection, reloadId, {
        ...{after, blockMs: Math.min(READ_MS, leftMs), count: 1000},
      });
      for (const ack of read.acks) acks.set(ack.workerId, ack);
      after = read.lastId;
      if (leftMs <= 0 && read.acks.length === 0) break;
    }
  } finally {
    connection.close();
  }
  await boundAcks(store, reloadId);
  return {acks: [...acks.values()].sort((a, b) => (a.workerId < b.workerId ? -1 : 1)), missing: missing()};
}
