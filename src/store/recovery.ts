/** Entries that were given to a consumer and not settled: who has them, and how a live one takes them over. */
import {messageOf} from '../errors.js';
import {decodePresence, type ReadPresence} from '../protocol/presence.js';
import {infoFields, streamReply, type ControlEntry} from './control-streams.js';
import {defineScript, flag} from './script.js';
import type {Store} from './store.js';

export interface ConsumerFacts {
  readonly name: string;
  readonly pending: number;
  /** Milliseconds since it last asked for entries. */
  readonly idleMs: number;
}

/** @returns the consumers of a group; none if stream or group does not exist. Costs the same with any number of entries. */
export async function consumersOf(store: Store, stream: string, group: string): Promise<ConsumerFacts[]> {
  const reply = await store.commands.run(
    async redis => {
      try {
        return await redis.call('XINFO', 'CONSUMERS', stream, group);
      } catch (error) {
        if (/no such key|NOGROUP/i.test(messageOf(error))) return [];
        throw error;
      }
    },
    {retryForMs: 2000},
  );
  if (!Array.isArray(reply)) return [];
  return (reply as unknown[]).map(row => {
    const fields = infoFields(row);
    return {
      name: fields.get('name') ?? '',
      pending: Number(fields.get('pending') ?? 0),
      idleMs: Number(fields.get('idle') ?? 0),
    };
  });
}

/** The leases of these workers; a worker without one is not in the answer. */
export async function liveLeases(
  store: Store,
  workerIds: readonly string[],
): Promise<Map<string, ReadPresence>> {
  const ids = [...new Set(workerIds)];
  const leases = new Map<string, ReadPresence>();
  if (ids.length === 0) return leases;
  const values = await Promise.all(
    ids.map(id => store.commands.run(redis => redis.get(store.keys.workerLease(id)), {retryForMs: 2000})),
  );
  for (const [i, id] of ids.entries()) {
    const value = values[i];
    // Between the claim of an id and its first heartbeat nobody is online, and yet somebody holds it.
    if (typeof value === 'string') leases.set(id, decodePresence(value));
  }
  return leases;
}

/** Take the turn to look for dead consumers of a stream: of a fleet one worker looks, whatever its size. */
export async function takeRecoveryTurn(store: Store, stream: string, ms: number): Promise<boolean> {
  const lock = store.keys.recoveryTurn(stream);
  return (await store.commands.run(redis => redis.set(lock, '1', 'PX', ms, 'NX'))) === 'OK';
}

/** Let others look at once: there is more to take than this worker can run. */
export async function passRecoveryTurn(store: Store, stream: string): Promise<void> {
  await store.commands.run(redis => redis.del(store.keys.recoveryTurn(stream)));
}

const claimScript = defineScript({
  file: 'claim-pending.lua',
  keys: ['stream'],
  args: ['group', 'from', 'to', 'minIdleMs', 'count'],
  binary: true,
  reply: raw => raw,
});

export interface ClaimPending {
  readonly stream: string;
  readonly group: string;
  readonly from: string;
  /** May be `from`: then the entries are read again. */
  readonly to: string;
  readonly minIdleMs: number;
  readonly count: number;
}

/** Take over entries of one consumer, oldest first; deleted ones are forgotten. Safe to repeat. */
export async function claimPending(store: Store, claim: ClaimPending): Promise<ControlEntry[]> {
  const {stream, ...args} = claim;
  try {
    const rows = await claimScript(store.commands, {keys: {stream}, args}, {retryForMs: 0});
    return streamReply([[stream, rows]]);
  } catch (error) {
    // The stream or its group is gone, and the entries with it.
    if (/NOGROUP/.test(messageOf(error))) return [];
    throw error;
  }
}

const dropScript = defineScript({
  file: 'drop-consumer.lua',
  keys: ['stream'],
  args: ['group', 'consumer'],
  reply: flag,
});

/** Delete a consumer, if nothing is pending for it. @returns whether it is gone. */
export async function dropConsumer(
  store: Store,
  stream: string,
  group: string,
  consumer: string,
): Promise<boolean> {
  try {
    return await dropScript(store.commands, {keys: {stream}, args: {group, consumer}});
  } catch (error) {
    if (/NOGROUP/.test(messageOf(error))) return true;
    throw error;
  }
}

/** Who has an entry: the consumer's name, or undefined if nobody has it. */
export async function holderOf(
  store: Store,
  group: string,
  {stream, id}: Pick<ControlEntry, 'stream' | 'id'>,
): Promise<string | undefined> {
  const rows = await store.commands.run(redis => redis.xpending(stream, group, id, id, 1), {
    retryForMs: 5000,
  });
  const row: unknown = rows[0];
  return Array.isArray(row) && typeof row[1] === 'string' ? row[1] : undefined;
}

/** Give entries to another consumer without running them. */
export async function handOver(
  store: Store,
  group: string,
  stream: string,
  ids: readonly string[],
  to: string,
): Promise<void> {
  await store.commands.run(redis => redis.call('XCLAIM', stream, group, to, 0, ...ids, 'JUSTID'), {
    retryForMs: 1000,
  });
}
