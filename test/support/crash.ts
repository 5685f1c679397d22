/** A process that dies between two of its own Redis commands, without taking the test with it. */
import {createHash} from 'node:crypto';
import {readdirSync, readFileSync} from 'node:fs';
import {basename} from 'node:path';
import {fileURLToPath} from 'node:url';
import type {RedisClient} from '../../src/store/client.js';
import type {Connection} from '../../src/store/connection.js';
import {ScriptCommand} from '../../src/store/script-command.js';
import type {Store} from '../../src/store/store.js';

export class Crash extends Error {
  override readonly name = 'Crash';
}

/** The same store, through which only the first `commands` runs go; after those the process is dead. */
function dyingAfter(store: Store, commands: number): {store: Store; died: () => boolean} {
  let runs = 0;
  const connection = Object.create(store.commands) as Store['commands'];
  connection.run = async (issue, options) => {
    if (runs >= commands) throw new Crash();
    runs++;
    return store.commands.run(issue, options);
  };
  return {store: {...store, commands: connection}, died: () => runs >= commands};
}

/**
 * Let `act` die after each number of its commands, from none to all but the last, and look at what is left each time.
 * The points are counted while it runs, so a new command is covered by itself.
 * @param open a fresh store for every try.
 * @returns how many points there were.
 */
export async function atEveryCrash<T>(
  open: () => Store,
  prepare: (store: Store) => Promise<T>,
  act: (store: Store, prepared: T) => Promise<unknown>,
  check: (store: Store, prepared: T, point: number) => Promise<void>,
): Promise<number> {
  for (let point = 0; ; point++) {
    const store = open();
    await store.commands.isCluster();
    const prepared = await prepare(store);
    const dying = dyingAfter(store, point);
    let crashed = false;
    try {
      await act(dying.store, prepared);
    } catch (error) {
      if (!(error instanceof Crash)) throw error;
      crashed = true;
    }
    await check(store, prepared, point);
    if (!crashed) return point;
  }
}

export interface Mortal {
  readonly store: Store;
  /** The command it died before, in words; a script goes by its file's name. Undefined while it lives. */
  readonly diedBefore: () => string | undefined;
  /** Ends it before its next command. */
  die(): void;
}

/**
 * The same store, through which only the first `commands` single Redis commands go, blocking reads included: whoever uses
 * it is dead from then on, however long it goes on trying, as after a SIGKILL.
 */
export function mortal(store: Store, commands = Infinity): Mortal {
  let left = commands;
  let diedBefore: string | undefined;
  const spend = (name: string): boolean => {
    if (left-- > 0) return true;
    diedBefore ??= name;
    return false;
  };
  const wrap = (connection: Connection): Connection => {
    const dying = Object.create(connection) as Connection;
    dying.run = (issue, options) => connection.run(redis => issue(counting(redis, spend)), options);
    dying.close = () => connection.close();
    return dying;
  };
  return {
    store: {
      ...store,
      commands: wrap(store.commands),
      blocking: (name, key) => wrap(store.blocking(name, key)),
    },
    diedBefore: () => diedBefore,
    die: () => void (left = 0),
  };
}

function counting(redis: RedisClient, spend: (name: string) => boolean): RedisClient {
  return new Proxy(redis, {
    get(target, property) {
      const value: unknown = Reflect.get(target, property, target);
      if (typeof value !== 'function' || typeof property !== 'string') return value;
      return (...args: unknown[]) =>
        spend(commandName(property, args))
          ? (value.apply(target, args) as unknown)
          : // Not thrown: the connection would go on waiting for its answer.
            Promise.reject(new Crash());
    },
  });
}

function commandName(method: string, args: readonly unknown[]): string {
  const [first] = args;
  if (first instanceof ScriptCommand) return scriptNames().get(first.script) ?? first.name;
  const called = method.startsWith('call') ? args.map(String) : [method, ...args.map(String)];
  const [name = '', script = ''] = called;
  return /^eval/i.test(name) ? (scriptNames().get(script) ?? name) : name.toLowerCase();
}

const luaFolder = fileURLToPath(new URL('../../src/store/lua/', import.meta.url));
let names: ReadonlyMap<string, string> | undefined;

/** Scripts by digest and by source, with and without what comes before them where that is one. */
function scriptNames(): ReadonlyMap<string, string> {
  if (names !== undefined) return names;
  const read = (file: string) => readFileSync(luaFolder + file, 'utf8');
  const before = ['records.lua', 'orch-sched-failure.lua'].map(read);
  names = new Map(
    readdirSync(luaFolder).flatMap(file =>
      [read(file), ...before.map(prelude => `${prelude}\n${read(file)}`)].flatMap(source => {
        const name = basename(file, '.lua');
        return [
          [source, name],
          [createHash('sha1').update(source).digest('hex'), name],
        ] as const;
      }),
    ),
  );
  return names;
}

/**
 * As {@link atEveryCrash}, for a process that does several things at once and never ends by itself: it is let die after each
 * number of its single commands, several tries beside each other.
 * @param live lets it live until it died or its work is done; rejects for any other reason.
 * @returns before which commands it died, in order, one for each try.
 */
export async function atEveryDeath<T>(
  open: () => Store,
  prepare: (store: Store) => Promise<T>,
  live: (mortal: Mortal, prepared: T, store: Store) => Promise<void>,
  check: (store: Store, prepared: T, diedBefore: string | undefined) => Promise<void>,
): Promise<string[]> {
  const points: string[] = [];
  for (let first = 0; ; first += BESIDE) {
    const tries = Array.from({length: BESIDE}, async (_, at) => {
      const store = open();
      await store.commands.isCluster();
      const prepared = await prepare(store);
      const dying = mortal(store, first + at);
      await live(dying, prepared, store);
      const diedBefore = dying.diedBefore();
      await check(store, prepared, diedBefore);
      return diedBefore;
    });
    const died = await Promise.all(tries);
    points.push(...died.filter(one => one !== undefined));
    if (died.every(one => one === undefined)) return points;
  }
}

const BESIDE = 8;
