/** Traces as the SDKs keep them in Redis: spec §9.4. Written best effort, a batch in one go. */
import {spanFromWire, type Span} from '../protocol/trace.js';
import {escapeGlob} from '../protocol/keys.js';
import {parseUntrustedObject, readable} from '../protocol/limits.js';
import {scanKeys, type Store} from './store.js';

const RETRY = {retryForMs: 5000};

/** What is written of one trace. */
export interface TraceWrite {
  readonly traceId: string;
  /** Fields of its hash. */
  readonly fields: Readonly<Record<string, string>>;
  /** JSON documents, in order. */
  readonly spans: readonly string[];
}

/** A trace in an index, by its start in Unix milliseconds. */
export interface IndexWrite {
  readonly index: 'session' | 'worker' | 'agent';
  readonly id: string;
  readonly traceId: string;
  readonly startTs: number;
}

/** Fields a write depends on. */
const KNOWN = ['start_ts', 'updated_at', 'root_message_id'] as const;

export async function knownTraces(
  store: Store,
  traceIds: readonly string[],
): Promise<Readonly<Record<string, string>>[]> {
  const rows = await store.commands.run(redis =>
    Promise.all(traceIds.map(id => redis.hmget(store.keys.traceMeta(id), ...KNOWN))),
  );
  return rows.map(row =>
    Object.fromEntries(
      KNOWN.flatMap((name, at) => {
        const value = row[at];
        return value === null || value === undefined ? [] : [[name, value]];
      }),
    ),
  );
}

/**
 * Write a batch: commands in one go, in a Cluster to whichever nodes hold the keys.
 * @param ttlS lifetime of every key from now, in seconds.
 * @param now Unix milliseconds: what is older than the lifetime leaves the indexes, where `trims` says so.
 */
export async function writeTraces(
  store: Store,
  traces: readonly TraceWrite[],
  indexes: readonly IndexWrite[],
  {ttlS, now, trims}: {readonly ttlS: number; readonly now: number; readonly trims: boolean},
): Promise<void> {
  const {keys} = store;
  const makers = {
    session: keys.traceIndexSession,
    worker: keys.traceIndexWorker,
    agent: keys.traceIndexAgent,
  };
  const byKey = new Map<string, Map<string, number>>();
  for (const {index, id, traceId, startTs} of indexes) {
    const key = makers[index](id);
    byKey.set(key, (byKey.get(key) ?? new Map<string, number>()).set(traceId, startTs));
  }
  await store.commands.run(redis =>
    Promise.all([
      ...traces.flatMap(({traceId, fields, spans}) => [
        redis.hset(keys.traceMeta(traceId), fields),
        redis.expire(keys.traceMeta(traceId), ttlS),
        ...(spans.length === 0
          ? []
          : [redis.rpush(keys.traceSpans(traceId), ...spans), redis.expire(keys.traceSpans(traceId), ttlS)]),
      ]),
      ...[...byKey].flatMap(([key, members]) => [
        redis.zadd(key, ...[...members].flatMap(([traceId, startTs]) => [startTs, traceId])),
        ...(trims ? [redis.zremrangebyscore(key, '-inf', `(${now - ttlS * 1000}`)] : []),
        redis.expire(key, ttlS),
      ]),
    ]),
  );
}

export interface StoredTrace {
  /** The hash, as it is. */
  readonly fields: Readonly<Record<string, string>>;
  /** In the order in which they were told; what can not be read is left out. */
  readonly spans: readonly Span[];
  /** Spans there are, also those not read. */
  readonly spanCount: number;
}

/** @param limit most spans to read. @returns undefined if nothing is known of it. */
export async function readTrace(
  store: Store,
  traceId: string,
  limit: number,
): Promise<StoredTrace | undefined> {
  const places = placesOf(store, traceId);
  const found = await store.commands.run(
    redis =>
      Promise.all(
        places.map(place =>
          Promise.all([
            redis.hgetall(place.meta),
            redis.lrange(place.spans, 0, limit - 1),
            redis.llen(place.spans),
          ]),
        ),
      ),
    RETRY,
  );
  const fields = merged(found.map(([hash]) => hash));
  const spans = found
    .flatMap(([, texts]) => texts)
    .flatMap(text => readable(() => spanFromWire(parseUntrustedObject(text))) ?? [])
    .slice(0, limit);
  const spanCount = found.reduce((sum, [, , length]) => sum + length, 0);
  return Object.keys(fields).length === 0 && spanCount === 0 ? undefined : {fields, spans, spanCount};
}

/** Traces of a session, an agent type or a worker, newest first, each with its hash; those that are gone left out. */
export async function listTraces(
  store: Store,
  {index, id}: Pick<IndexWrite, 'index' | 'id'>,
  limit: number,
): Promise<{readonly traceId: string; readonly fields: Readonly<Record<string, string>>}[]> {
  const {keys} = store;
  const indexes = {
    session: [keys.traceIndexSession(id), keys.tsTrace.indexSession(id)],
    worker: [keys.traceIndexWorker(id), keys.tsTrace.indexWorker(id)],
    agent: [keys.traceIndexAgent(id), keys.tsTrace.indexAgent(id)],
  }[index];
  const lists = await store.commands.run(
    redis => Promise.all([...new Set(indexes)].map(key => redis.zrevrange(key, 0, limit - 1))),
    RETRY,
  );
  return hashesOf(store, [...new Set(lists.flat())]);
}

/** Traces of the whole server: it walks its keys. @param look most keys to look at on each server, roughly. */
export async function findTraces(
  store: Store,
  look: number,
): Promise<{readonly traceId: string; readonly fields: Readonly<Record<string, string>>}[]> {
  const {keys} = store;
  const [, spansBase = ''] = /^(.*)\0/s.exec(keys.traceSpans('\0')) ?? [];
  const tsSpans = keys.tsTrace.spans('\0').split('\0');
  const own = await scanKeys(store, `${escapeGlob(spansBase)}*`, look);
  const theirs =
    keys.schema === 'v2'
      ? []
      : await scanKeys(store, `${escapeGlob(tsSpans[0] ?? '')}*${escapeGlob(tsSpans[1] ?? '')}`, look);
  const idIn = (key: string, head: string, tail: string) => key.slice(head.length, key.length - tail.length);
  const tail = keys.schema === 'v2' ? '}' : '';
  const ids = [
    ...own.map(key => idIn(key, spansBase, tail)),
    ...theirs.map(key => idIn(key, tsSpans[0] ?? '', tsSpans[1] ?? '')),
  ];
  return hashesOf(store, [...new Set(ids)]);
}

async function hashesOf(store: Store, traceIds: readonly string[]) {
  const rows = await store.commands.run(
    redis =>
      Promise.all(traceIds.map(id => Promise.all(placesOf(store, id).map(({meta}) => redis.hgetall(meta))))),
    RETRY,
  );
  return traceIds.flatMap((traceId, at) => {
    const fields = merged(rows[at] ?? []);
    return Object.keys(fields).length === 0 ? [] : [{traceId, fields}];
  });
}

/** Where a trace is, ours first: in key schema v1 the TypeScript SDK has keys of its own. */
const placesOf = ({keys}: Store, traceId: string) =>
  [
    {meta: keys.traceMeta(traceId), spans: keys.traceSpans(traceId)},
    {meta: keys.tsTrace.meta(traceId), spans: keys.tsTrace.spans(traceId)},
  ].filter(({meta}, at, all) => at === 0 || meta !== all[0]?.meta);

/** Fields of several hashes; those of the first count. */
const merged = (hashes: readonly Readonly<Record<string, string>>[]): Record<string, string> =>
  Object.assign({}, ...[...hashes].reverse()) as Record<string, string>;
