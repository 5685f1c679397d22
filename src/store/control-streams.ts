/** Control streams: where commands wait for workers. Read with a consumer group, settled by ack and delete. */
import {messageOf} from '../errors.js';
import type {Connection} from './connection.js';
import type {Store} from './store.js';

export interface ControlEntry {
  readonly stream: string;
  readonly id: string;
  /** The field `data` as it came, undecoded; undefined if the entry has none, or two that may contradict each other. */
  readonly data: Buffer | undefined;
  /** Without `data`: the names and values of all its fields, a line each, for whoever looks at what came. */
  readonly fields?: Buffer;
}

export interface GroupFacts {
  readonly name: string;
  readonly consumers: number;
  readonly pending: number;
  /** Entries not delivered yet; null where the server can not tell. */
  readonly lag: number | null;
  readonly lastDeliveredId: string;
}

/** Create the group at the start of the stream, so that commands sent before the first worker are delivered. */
export async function ensureGroup(store: Store, stream: string, group: string): Promise<void> {
  await store.commands.run(
    async redis => {
      try {
        await redis.xgroup('CREATE', stream, group, '0', 'MKSTREAM');
      } catch (error) {
        if (!messageOf(error).startsWith('BUSYGROUP')) throw error;
      }
    },
    {retryForMs: 5000},
  );
}

/** Show in a group under this name before anything was read: who looks at it sees that we do. Safe to repeat. */
export async function announceConsumer(
  store: Store,
  stream: string,
  group: string,
  consumer: string,
): Promise<void> {
  await store.commands.run(redis => redis.xgroup('CREATECONSUMER', stream, group, consumer), {
    retryForMs: 5000,
  });
}

export interface ReadRequest {
  readonly streams: readonly string[];
  readonly group: string;
  readonly consumer: string;
  /** Most entries from each stream. */
  readonly count: number;
  /** Milliseconds to wait for the first entry. */
  readonly blockMs: number;
}

/** Blocked reads get this much longer than they asked for before their connection counts as dead. */
const BLOCK_GRACE_MS = 2000;

/**
 * Read entries nobody has read before. Values stay bytes: one entry that is not UTF-8 must not spoil its neighbours.
 * A group that vanished (FLUSHALL, a restore) is created again, and nothing is returned.
 */
export async function readNew(
  store: Store,
  connection: Connection,
  request: ReadRequest,
): Promise<ControlEntry[]> {
  const {streams, group, consumer, count, blockMs} = request;
  try {
    const reply = await connection.run(
      redis =>
        redis.callBuffer(
          'XREADGROUP', 'GROUP', group, consumer, 'COUNT', String(count), 'BLOCK', String(Math.max(1, Math.ceil(blockMs))), 'STREAMS',
          ...streams, ...streams.map(() => '>'),
        ), // prettier-ignore
      {timeoutMs: blockMs + BLOCK_GRACE_MS},
    );
    return streamReply(reply);
  } catch (error) {
    if (!messageOf(error).startsWith('NOGROUP') && !messageOf(error).startsWith('UNBLOCKED')) throw error;
    for (const stream of streams) await ensureGroup(store, stream, group);
    return [];
  }
}

/** Both reply shapes: RESP3 gives pairs flattened in one array (or a Map), RESP2 an array of pairs. */
export function streamReply(reply: unknown): ControlEntry[] {
  const entries: ControlEntry[] = [];
  for (const [name, rows] of streamPairs(reply)) {
    if (!Array.isArray(rows)) continue;
    for (const row of rows as unknown[]) {
      if (!Array.isArray(row)) continue;
      const [id, fields] = row as unknown[];
      const data = dataField(fields);
      const entry = {stream: text(name), id: text(id), data};
      entries.push(data === undefined ? {...entry, fields: allFields(fields)} : entry);
    }
  }
  return entries;
}

function streamPairs(reply: unknown): [unknown, unknown][] {
  if (reply instanceof Map) return [...reply.entries()];
  if (!Array.isArray(reply)) return [];
  const items = reply as unknown[];
  if (items.every(item => Array.isArray(item) && item.length === 2)) return items as [unknown, unknown][];
  const pairs: [unknown, unknown][] = [];
  for (let i = 0; i + 1 < items.length; i += 2) pairs.push([items[i], items[i + 1]]);
  return pairs;
}

function dataField(fields: unknown): Buffer | undefined {
  if (!Array.isArray(fields)) return undefined;
  let found: Buffer | undefined;
  for (let i = 0; i + 1 < fields.length; i += 2) {
    if (text(fields[i]) !== 'data') continue;
    // One reader would take the first and another the last: nobody may run what somebody else did not check.
    if (found !== undefined) return undefined;
    found = bytes(fields[i + 1]);
  }
  return found;
}

function allFields(fields: unknown): Buffer {
  const lines = Array.isArray(fields) ? (fields as unknown[]).flatMap(one => [bytes(one), NEWLINE]) : [];
  return Buffer.concat(lines.slice(0, -1));
}

const NEWLINE = Buffer.from('\n');
const bytes = (value: unknown): Buffer => (Buffer.isBuffer(value) ? value : Buffer.from(text(value)));

const text = (value: unknown): string =>
  Buffer.isBuffer(value) ? value.toString('utf8') : typeof value === 'string' ? value : '';

/**
 * Acknowledge entries that need nothing else. Safe to repeat. Deleted first: one that is pending and gone leaves its group
 * with the next claim, one that is acknowledged and still there would stay for ever.
 */
export async function settleMany(
  store: Store,
  group: string,
  stream: string,
  ids: readonly string[],
  deleteEntries: boolean,
): Promise<void> {
  await store.commands.run(
    redis =>
      Promise.all([
        deleteEntries ? redis.xdel(stream, ...ids) : undefined,
        redis.xack(stream, group, ...ids),
      ]),
    {retryForMs: 30_000},
  );
}

/** @returns the groups of a stream; none if the stream does not exist. */
export async function groupsOf(store: Store, stream: string): Promise<GroupFacts[]> {
  const reply = await store.commands.run(
    async redis => {
      try {
        return await redis.call('XINFO', 'GROUPS', stream);
      } catch (error) {
        if (/no such key/i.test(messageOf(error))) return [];
        throw error;
      }
    },
    {retryForMs: 5000},
  );
  if (!Array.isArray(reply)) return [];
  return (reply as unknown[]).map(row => {
    const fields = infoFields(row);
    const number = (name: string) => Number(fields.get(name) ?? 0);
    return {
      name: fields.get('name') ?? '',
      consumers: number('consumers'),
      pending: number('pending'),
      lag: fields.has('lag') ? number('lag') : null,
      lastDeliveredId: fields.get('last-delivered-id') ?? '',
    };
  });
}

/** The plain fields of an XINFO answer, whatever the protocol version made of it; nested ones are left out. */
export function infoFields(row: unknown): Map<string, string> {
  const fields = new Map<string, string>();
  const add = (name: unknown, value: unknown) => {
    if (typeof name === 'string' && (typeof value === 'string' || typeof value === 'number'))
      fields.set(name, String(value));
  };
  if (row instanceof Map) for (const [name, value] of row) add(name, value);
  else if (Array.isArray(row)) for (let i = 0; i + 1 < row.length; i += 2) add(row[i], row[i + 1]);
  else if (typeof row === 'object' && row !== null)
    for (const [name, value] of Object.entries(row)) add(name, value);
  return fields;
}
