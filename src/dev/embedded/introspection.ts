/** COMMAND: what the server can do, for clients that ask. */
import type {Args, Client} from './client.js';
import {CommandError, MapReply, SetReply, StatusReply, type Reply} from './reply.js';
import type {Command, Store} from './store.js';

const FLAG_NAMES: Record<string, string> = {
  w: 'write',
  r: 'readonly',
  m: 'denyoom',
  a: 'admin',
  p: 'pubsub',
  s: 'noscript',
  b: 'blocking',
  F: 'fast',
};

function describe({name, arity, flags, keys}: Command): Reply {
  const names = [...flags].flatMap(flag => FLAG_NAMES[flag] ?? []).map(flag => new StatusReply(flag));
  return [name, arity, new SetReply(names), ...keys, new SetReply([]), [], [], []];
}

/** COMMAND and COMMAND LIST. */
export function commandList(_client: Client, args: Args, store: Store): Reply {
  return args.length > 1 ? store.commands().map(command => command.name) : store.commands().map(describe);
}

export function commandCount(_client: Client, _args: Args, store: Store): Reply {
  return store.commands().length;
}

export function commandInfo(_client: Client, args: Args, store: Store): Reply {
  if (args.length === 2) return store.commands().map(describe);
  const byName = new Map(store.commands().map(command => [command.name, command]));
  return args.slice(2).map(name => {
    const command = byName.get(name.toLowerCase());
    return command === undefined ? null : describe(command);
  });
}

/** There is no documentation here; clients take an empty answer for that. */
export function commandDocs(): Reply {
  return new MapReply([]);
}

export function commandGetKeys(_client: Client, args: Args, store: Store): Reply {
  const words = args.slice(2);
  const command = store.commands().find(({name}) => name === words[0]?.toLowerCase());
  if (command === undefined) throw new CommandError('ERR Invalid command specified');
  const [first, last, step] = command.keys;
  if (first === 0) throw new CommandError('ERR The command has no key arguments');
  const end = last < 0 ? words.length + last : last;
  return words.filter((_, index) => index >= first && index <= end && (index - first) % step === 0);
}
