/** Reading the run layer: records by id, lists by creation, and streams whose entries are numbered. */
import type {Workspace} from './orchestration.js';

const RETRY = {retryForMs: 5000};

/** Documents of records, in the order of their keys; undefined for one that is not there. */
export async function readDocs({store}: Workspace, keys: readonly string[]): Promise<(string | undefined)[]> {
  const docs = await store.commands.run(redis => Promise.all(keys.map(key => redis.hget(key, 'doc'))), RETRY);
  return docs.map(doc => doc ?? undefined);
}

export const readText = async ({store}: Workspace, key: string): Promise<string | undefined> =>
  (await store.commands.run(redis => redis.get(key), RETRY)) ?? undefined;

/**
 * The id a name stands for: the first that asks gives it one. It is kept for so long after its last use.
 * @param fresh what it is to stand for, if it does not yet.
 */
export async function nameOnce(
  {store}: Workspace,
  key: string,
  fresh: string,
  ttlS: number,
): Promise<string> {
  return store.commands.run(async redis => {
    await redis.set(key, fresh, 'EX', ttlS, 'NX');
    const [known] = await Promise.all([redis.get(key), redis.expire(key, ttlS)]);
    return known ?? fresh;
  }, RETRY);
}

/** All members, lowest score first. */
export const members = async ({store}: Workspace, key: string): Promise<string[]> =>
  store.commands.run(redis => redis.zrange(key, '0', '-1'), RETRY);

/** The first few members. */
export const firstMembers = async ({store}: Workspace, key: string, count: number): Promise<string[]> =>
  store.commands.run(redis => redis.zrange(key, '0', String(count - 1)), RETRY);

/** Members with a score up to this, lowest first. */
export const membersUpTo = async (
  {store}: Workspace,
  key: string,
  score: number,
  count: number,
): Promise<string[]> =>
  store.commands.run(redis => redis.zrangebyscore(key, '-inf', score, 'LIMIT', 0, count), RETRY);

export const sizeOf = async ({store}: Workspace, keys: readonly string[]): Promise<number[]> =>
  store.commands.run(redis => Promise.all(keys.map(key => redis.zcard(key))), RETRY);

/** How many members have at least this score. */
export const countFrom = async ({store}: Workspace, key: string, score: number): Promise<number> =>
  store.commands.run(redis => redis.zcount(key, score, '+inf'), RETRY);

export const setMembers = async ({store}: Workspace, key: string): Promise<string[]> =>
  store.commands.run(redis => redis.smembers(key), RETRY);

export const takeOut = async ({store}: Workspace, key: string, member: string): Promise<void> => {
  await store.commands.run(redis => redis.srem(key, member), RETRY);
};

export const takeFrom = async ({store}: Workspace, key: string, member: string): Promise<void> => {
  await store.commands.run(redis => redis.zrem(key, member), RETRY);
};

export const renew = async ({store}: Workspace, key: string, ttlS: number): Promise<void> => {
  await store.commands.run(redis => redis.expire(key, ttlS), RETRY);
};

export interface Listed {
  readonly id: string;
  readonly at: number;
}

/** A page of an index, newest first. @param before where the last page ended (exclusive). */
export async function listNewest(
  {store}: Workspace,
  key: string,
  {before, since = 0, count}: {readonly before?: Listed; readonly since?: number; readonly count: number},
): Promise<Listed[]> {
  const page: Listed[] = [];
  // Ids of one moment are in the order of their letters, and a page may end among them.
  let skip = 0;
  while (page.length < count) {
    const rows = await store.commands.run(
      redis =>
        redis.zrevrangebyscore(key, before?.at ?? '+inf', since, 'WITHSCORES', 'LIMIT', skip, count + 1),
      RETRY,
    );
    if (rows.length === 0) break;
    for (let i = 0; i < rows.length; i += 2) {
      const one = {id: rows[i] ?? '', at: Number(rows[i + 1])};
      const isSeen = before !== undefined && one.at === before.at && one.id >= before.id;
      if (!isSeen && page.length < count) page.push(one);
    }
    skip += rows.length / 2;
  }
  return page;
}

export interface Numbered {
  readonly seq: number;
  readonly doc: string;
}

/**
 * Entries of a numbered stream.
 * @param from the first number wanted.
 * @returns also the last number there is; 0 for none.
 */
export async function readNumbered(
  {store}: Workspace,
  stream: string,
  from: number,
  count: number,
): Promise<{readonly entries: readonly Numbered[]; readonly last: number}> {
  const [rows, newest] = await store.commands.run(
    redis =>
      Promise.all([
        redis.xrange(stream, `${Math.max(from, 1)}-0`, '+', 'COUNT', count),
        redis.xrevrange(stream, '+', '-', 'COUNT', 1),
      ]),
    RETRY,
  );
  const read = ([id, fields]: readonly [string, readonly string[]]): Numbered => ({
    seq: Number(id.split('-')[0]),
    doc: fields[fields.indexOf('doc') + 1] ?? '',
  });
  const entries = rows.map(read);
  return {
    entries,
    last: Math.max(newest[0] === undefined ? 0 : read(newest[0]).seq, entries.at(-1)?.seq ?? 0),
  };
}
