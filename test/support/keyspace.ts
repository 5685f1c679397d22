/** Whether the keys a test left behind keep the rules of src/protocol/key-rules.ts (T10 of the guarantees). */
import {ruleMatcher, type KeyRule} from '../../src/protocol/key-rules.js';
import {CONSUMER_GROUP} from '../../src/protocol/keys.js';
import {decodePresence} from '../../src/protocol/presence.js';
import {groupsOf} from '../../src/store/control-streams.js';
import {MANAGER_GROUP} from '../../src/store/control-plane.js';
import {pendingEntries} from '../../src/store/queues.js';
import {scanKeys, type Store} from '../../src/store/store.js';

/** Trimming by `~` removes whole nodes of a stream, so a little more may stay. */
const CAP_SLACK = 200;
/** More entries than any test leaves. */
const ALL = 100_000;

/**
 * Rules a test breaks on purpose: what it writes by hand, as another program would, has not the bound ours has.
 * `dead-workers`: it kills workers, which nobody takes out.
 */
export type Exception = string;

/** @returns a line for each key that breaks a rule; none if all is well. */
export async function brokenRules(store: Store, exceptions: ReadonlySet<Exception>): Promise<string[]> {
  const {prefix, schema} = store.keys;
  const ruleOf = ruleMatcher(schema, prefix);
  const keys = await scanKeys(store, `${prefix}*`);
  const found = await Promise.all(
    keys.map(async key => {
      const rule = ruleOf(key);
      if (rule === undefined) return `${key}: no rule knows it`;
      if (exceptions.has(rule.name)) return undefined;
      const problem = await problemOf(store, rule, key, exceptions);
      return problem === undefined ? undefined : `${key}: ${problem} (rule ${rule.name})`;
    }),
  );
  return found.filter(line => line !== undefined);
}

async function problemOf(
  store: Store,
  {name, type, bound}: KeyRule,
  key: string,
  exceptions: ReadonlySet<Exception>,
): Promise<string | undefined> {
  const [actual, ttlMs] = await store.commands.run(redis => Promise.all([redis.type(key), redis.pttl(key)]));
  // It ended between the two looks.
  if (actual === 'none' || ttlMs === -2) return undefined;
  if (actual !== type) return `is a ${actual}, not a ${type}`;
  switch (bound.kind) {
    case 'ttl':
      if (ttlMs === -1) return `has no lifetime, where ${bound.seconds} s is due`;
      return ttlMs > bound.seconds * 1000 ? `lives ${ttlMs} ms, longer than ${bound.seconds} s` : undefined;
    case 'ended':
      return ttlMs > bound.seconds * 1000 ? `lives ${ttlMs} ms, longer than ${bound.seconds} s` : undefined;
    case 'cap': {
      const length = await store.commands.run(redis => redis.xlen(key));
      return length > bound.entries + CAP_SLACK ? `has ${length} entries, over ${bound.entries}` : undefined;
    }
    case 'settled':
      return unsettled(store, name, type, key);
    case 'members':
      return exceptions.has('dead-workers') ? undefined : leftBehind(store, name, key);
    case 'operator':
    case 'foreign':
      return undefined;
  }
}

async function unsettled(
  store: Store,
  name: string,
  type: KeyRule['type'],
  key: string,
): Promise<string | undefined> {
  if (type === 'hash' && name === 'pendingPayloads') {
    const queue = key.replace(/:payloads$/, '');
    const [payloads, waiting] = await store.commands.run(redis =>
      Promise.all([redis.hlen(key), redis.zcard(queue)]),
    );
    return payloads === waiting ? undefined : `has ${payloads} payloads for ${waiting} deliveries`;
  }
  if (type !== 'stream') return undefined;
  if (name === 'openOutboxes') {
    const length = await store.commands.run(redis => redis.xlen(key));
    return length === 0 ? undefined : `still names ${length} sessions`;
  }
  const groups = await groupsOf(store, key);
  const [group] = groups;
  // Of a stream nobody reads, nothing can be settled; of one that several groups read, nothing may be deleted.
  if (group === undefined || groups.length > 1) return undefined;
  if (group.name !== CONSUMER_GROUP && group.name !== MANAGER_GROUP) return undefined;
  const [delivered, pending] = await Promise.all([
    store.commands.run(redis => redis.xrange(key, '-', group.lastDeliveredId)),
    pendingEntries(store, key, group.name, {count: ALL}),
  ]);
  const held = new Set(pending.map(({entryId}) => entryId));
  const settled = delivered.filter(([id]) => !held.has(id)).length;
  return settled === 0 ? undefined : `still holds ${settled} settled entries`;
}

/** The id in a key that has one. */
function idIn(make: (id: string) => string, key: string): string {
  const [head = '', tail = ''] = make('\0').split('\0');
  return key.slice(head.length, key.length - tail.length);
}

/** Workers and instances that stopped must be gone; agent types and services need nobody to live. */
async function leftBehind(store: Store, name: string, key: string): Promise<string | undefined> {
  const {keys} = store;
  if (name === 'pendingTypes' || name === 'sdServices') return undefined;
  if (name === 'sdInstances' || name === 'sdActive') {
    const left = await store.commands.run(redis =>
      name === 'sdActive' ? redis.zcard(key) : redis.hlen(key),
    );
    return left === 0 ? undefined : `still names ${left} instances`;
  }
  const isDead = async (workerId: string) => {
    const lease = await store.commands.run(redis => redis.get(keys.workerLease(workerId)));
    return lease === null || decodePresence(lease).token === null;
  };
  if (name === 'declaredTypes') {
    return (await isDead(idIn(keys.declaredTypes, key))) ? 'is of a worker that has no lease' : undefined;
  }
  const ids = await store.commands.run(redis => redis.smembers(key));
  const dead = (await Promise.all(ids.map(async id => ((await isDead(id)) ? id : '')))).filter(
    id => id !== '',
  );
  return dead.length === 0 ? undefined : `names workers without a lease: ${dead.join(', ')}`;
}

/** Delete what a test left, so that later ones have less to walk over. */
export async function deleteKeys(store: Store): Promise<void> {
  const keys = await scanKeys(store, `${store.keys.prefix}*`);
  await store.commands.run(redis => Promise.all(keys.map(key => redis.unlink(key))));
}
