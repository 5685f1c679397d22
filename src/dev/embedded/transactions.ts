/** MULTI, EXEC and WATCH. */
import type {Args, Client} from './client.js';
import {CommandError, NULL_ARRAY, OK, type Reply} from './reply.js';
import type {Store} from './store.js';

export function multi(client: Client): Reply {
  if (client.transaction !== undefined) throw new CommandError('ERR MULTI calls can not be nested');
  client.transaction = {queue: [], hasFailed: false};
  return OK;
}

export function discard(client: Client): Reply {
  if (client.transaction === undefined) throw new CommandError('ERR DISCARD without MULTI');
  client.transaction = undefined;
  unwatchAll(client);
  return OK;
}

export function exec(client: Client, _args: Args, store: Store): Reply {
  const {transaction} = client;
  if (transaction === undefined) throw new CommandError('ERR EXEC without MULTI');
  client.transaction = undefined;
  const hasChanged =
    client.isDirty || client.watched.some(({db, key, wasExpired}) => !wasExpired && db.isExpired(key));
  unwatchAll(client);
  if (transaction.hasFailed) {
    throw new CommandError('EXECABORT Transaction discarded because of previous errors.');
  }
  if (hasChanged) return NULL_ARRAY;
  client.mayBlock = false;
  try {
    return transaction.queue.map(args => store.call(client, args));
  } finally {
    client.mayBlock = true;
  }
}

export function watch(client: Client, args: Args): Reply {
  if (client.transaction !== undefined) throw new CommandError('ERR WATCH inside MULTI is not allowed');
  const {db} = client;
  for (const key of args.slice(1)) {
    if (client.watched.some(other => other.db === db && other.key === key)) continue;
    client.watched.push({db, key, wasExpired: db.isExpired(key)});
    const watchers = db.watchers.get(key);
    if (watchers === undefined) db.watchers.set(key, new Set([client]));
    else watchers.add(client);
  }
  return OK;
}

export function unwatch(client: Client): Reply {
  unwatchAll(client);
  return OK;
}

export function unwatchAll(client: Client): void {
  for (const {db, key} of client.watched.splice(0)) {
    const watchers = db.watchers.get(key);
    watchers?.delete(client);
    if (watchers?.size === 0) db.watchers.delete(key);
  }
  client.isDirty = false;
}
