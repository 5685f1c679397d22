/** Commands about the connection itself. */
import type {Args, Client} from './client.js';
import {integer, parseInt64} from './numbers.js';
import {
  CommandError,
  MapReply,
  NO_REPLY,
  OK,
  StatusReply,
  syntaxError,
  VerbatimReply,
  type Reply,
} from './reply.js';
import {at, REDIS_VERSION, type Handler, type Store} from './store.js';
import {unwatchAll} from './transactions.js';

export function ping(client: Client, args: Args): Reply {
  if (args.length > 2) throw new CommandError("ERR wrong number of arguments for 'ping' command");
  const text = args.length === 2 ? args[1] : undefined;
  if (client.protocol === 2 && client.isSubscribed) return ['pong', text ?? ''];
  return text ?? new StatusReply('PONG');
}

export const echo: Handler = (_client, [, text]) => text;

function checkName(name: string): void {
  if (/[^!-~]/.test(name)) {
    throw new CommandError('ERR Client names cannot contain spaces, newlines or special characters.');
  }
}

const noPasswordSet = () =>
  new CommandError(
    'ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?',
  );

/** There is nothing to protect on loopback: the default user has no password, and there is no other. */
export function auth(_client: Client, args: Args): Reply {
  if (args.length > 3) throw syntaxError();
  if (args.length === 2) throw noPasswordSet();
  if (args[1] !== 'default')
    throw new CommandError('WRONGPASS invalid username-password pair or user is disabled.');
  return OK;
}

export function hello(client: Client, args: Args): Reply {
  let next = 1;
  let {protocol} = client;
  if (args.length > 1) {
    const version = parseInt64(args[1]);
    if (version === undefined)
      throw new CommandError('ERR Protocol version is not an integer or out of range');
    if (version !== 2 && version !== 3) throw new CommandError('NOPROTO unsupported protocol version');
    protocol = version;
    next = 2;
  }
  let name: string | undefined;
  for (; next < args.length; next++) {
    const word = at(args, next).toUpperCase();
    const left = args.length - 1 - next;
    if (word === 'AUTH' && left >= 2) {
      if (at(args, next + 1) !== 'default') {
        throw new CommandError('WRONGPASS invalid username-password pair or user is disabled.');
      }
      next += 2;
    } else if (word === 'SETNAME' && left >= 1) {
      name = at(args, ++next);
      checkName(name);
    } else {
      throw new CommandError(`ERR Syntax error in HELLO option '${at(args, next)}'`);
    }
  }
  client.protocol = protocol;
  if (name !== undefined) client.name = name;
  return new MapReply([
    'server',
    'redis',
    'version',
    REDIS_VERSION,
    'proto',
    protocol,
    'id',
    client.id,
    'mode',
    'standalone',
    'role',
    'master',
    'modules',
    [],
  ]);
}

export function quit(client: Client): Reply {
  client.isClosing = true;
  return OK;
}

export function reset(client: Client, _args: Args, store: Store): Reply {
  client.transaction = undefined;
  unwatchAll(client);
  store.pubsub.forget(client);
  const [first] = store.databases;
  if (first !== undefined) client.db = first;
  client.protocol = 2;
  client.name = '';
  client.replyMode = 'on';
  return new StatusReply('RESET');
}

export const clientId: Handler = client => client.id;
export const clientGetName: Handler = client => (client.name === '' ? null : client.name);
export const clientSetName: Handler = (client, [, , name]) => {
  checkName(name);
  client.name = name;
  return OK;
};

/** New in 7.2, but clients send it to every server. */
export const clientSetInfo: Handler = (client, [, , attribute, value]) => {
  const name = attribute.toLowerCase();
  if (name !== 'lib-name' && name !== 'lib-ver') {
    throw new CommandError(`ERR Unrecognized option '${attribute}'`);
  }
  if (/[^!-~]/.test(value)) {
    throw new CommandError(`ERR ${name} cannot contain spaces, newlines or special characters.`);
  }
  if (name === 'lib-name') client.libName = value;
  else client.libVersion = value;
  return OK;
};

function describe(client: Client, now: number): string {
  const seconds = (since: number) => Math.max(0, Math.floor((now - since) / 1000));
  const flags = `${client.waiter === undefined ? '' : 'b'}${client.isSubscribed ? 'P' : ''}${client.transaction === undefined ? '' : 'x'}`;
  return [
    `id=${client.id}`,
    `addr=${client.address}`,
    `laddr=${client.localAddress}`,
    'fd=8',
    `name=${client.name}`,
    `age=${seconds(client.createdAt)}`,
    `idle=${seconds(client.lastUsedAt)}`,
    `flags=${flags === '' ? 'N' : flags}`,
    `db=${client.db.index}`,
    `sub=${client.channels.size}`,
    `psub=${client.patterns.size}`,
    'ssub=0',
    `multi=${client.transaction?.queue.length ?? -1}`,
    'qbuf=0 qbuf-free=0 argv-mem=0 multi-mem=0 rbs=1024 rbp=0 obl=0 oll=0',
    `omem=${client.out.length}`,
    'tot-mem=0 events=r',
    `cmd=${client.lastCommand}`,
    'user=default redir=-1',
    `resp=${client.protocol}`,
  ].join(' ');
}

export const clientInfo: Handler = (client, _args, {shared}) =>
  new VerbatimReply(`${describe(client, shared.now)}\n`);

export function clientList(_client: Client, args: Args, store: Store): Reply {
  let wanted = [...store.clients.values()];
  for (let i = 2; i < args.length; i++) {
    const word = at(args, i).toUpperCase();
    if (word === 'TYPE') {
      const type = at(args, ++i).toLowerCase();
      if (type !== 'normal' && type !== 'pubsub' && type !== 'master' && type !== 'replica') {
        throw new CommandError(`ERR Unknown client type '${type}'`);
      }
      wanted = wanted.filter(client => (client.isSubscribed ? 'pubsub' : 'normal') === type);
    } else if (word === 'ID' && i + 1 < args.length) {
      const ids = new Set(args.slice(i + 1).map(text => integer(text)));
      wanted = wanted.filter(client => ids.has(client.id));
      break;
    } else {
      throw syntaxError();
    }
  }
  return new VerbatimReply(wanted.map(client => `${describe(client, store.shared.now)}\n`).join(''));
}

export function clientKill(client: Client, args: Args, store: Store): Reply {
  const isOldForm = args.length === 3;
  const tests: ((other: Client) => boolean)[] = [];
  let mayKillSelf = !isOldForm ? false : true;
  if (isOldForm) {
    tests.push(other => other.address === args[2]);
  } else {
    if (args.length % 2 !== 0) throw syntaxError();
    for (let i = 2; i < args.length; i += 2) {
      const word = at(args, i).toUpperCase();
      const value = at(args, i + 1);
      if (word === 'ID') {
        const id = parseInt64(value);
        if (id === undefined || id < 1) throw new CommandError('ERR client-id should be greater than 0');
        tests.push(other => other.id === id);
      } else if (word === 'ADDR') tests.push(other => other.address === value);
      else if (word === 'LADDR') tests.push(other => other.localAddress === value);
      else if (word === 'TYPE')
        tests.push(other => (other.isSubscribed ? 'pubsub' : 'normal') === value.toLowerCase());
      else if (word === 'USER') tests.push(() => value === 'default');
      else if (word === 'SKIPME') mayKillSelf = value.toLowerCase() === 'no';
      else throw syntaxError();
    }
  }
  let killed = 0;
  for (const other of [...store.clients.values()]) {
    if (!tests.every(test => test(other)) || (other === client && !mayKillSelf)) continue;
    killed++;
    if (other === client) client.isClosing = true;
    else other.close();
  }
  if (!isOldForm) return killed;
  if (killed === 0) throw new CommandError('ERR No such client');
  return OK;
}

export const clientUnblock: Handler = (_client, args, store) => {
  const id = integer(args[2]);
  const how = args.length > 3 ? args[3].toUpperCase() : 'TIMEOUT';
  if (args.length > 4 || (how !== 'TIMEOUT' && how !== 'ERROR')) {
    throw new CommandError('ERR CLIENT UNBLOCK reason should be TIMEOUT or ERROR');
  }
  const other = store.clients.get(id);
  return other !== undefined && store.blocking.unblock(other, how === 'ERROR') ? 1 : 0;
};

export function clientReply(client: Client, [, , mode]: Args): Reply {
  const word = mode.toUpperCase();
  if (word === 'ON') {
    client.replyMode = 'on';
    return OK;
  }
  if (word === 'OFF') client.replyMode = 'off';
  else if (word === 'SKIP') client.replyMode = client.replyMode === 'off' ? 'off' : 'skip-next';
  else throw syntaxError();
  return NO_REPLY;
}

const onOrOff: Handler = (_client, [, , mode]) => {
  if (!['ON', 'OFF'].includes(mode.toUpperCase())) throw syntaxError();
  return OK;
};
/** Nothing is ever evicted here, so there is nothing to change. */
export const clientNoEvict: Handler = onOrOff;
