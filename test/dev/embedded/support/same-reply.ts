/** What may differ between two servers that behave alike: times, and the order of things that have none. */
import type {Wire} from './raw-client.js';

const UNORDERED = new Set([
  'SMEMBERS',
  'KEYS',
  'SUNION',
  'SINTER',
  'SDIFF',
  'SPOP',
  'SRANDMEMBER',
  'HRANDFIELD',
]);
const UNORDERED_PAIRS = new Set(['HGETALL']);
const UNORDERED_VALUES = new Set(['HKEYS', 'HVALS']);
/** Two servers look at their clocks one after the other. The tests' values lie further apart, 100 s and more. */
const CLOCK_TOLERANCE: Record<string, number> = {
  TTL: 60,
  PTTL: 60_000,
  EXPIRETIME: 60,
  PEXPIRETIME: 60_000,
};

/** A form in which equal behaviour gives equal text. */
export function normalise(command: readonly string[], reply: Wire): Wire {
  const name = command[0]!.toUpperCase();
  const items = itemsOf(reply);
  // When the sequence of `ms-*` is used up, which of two texts Redis shows depends on an errno left by something else.
  if (name === 'XADD' && isError(reply) && /top item|too large/.test(reply.text))
    return {kind: 'error', text: 'ERR'};
  if (items === undefined) return reply;
  if (UNORDERED.has(name) || UNORDERED_VALUES.has(name)) return sorted(items);
  if (UNORDERED_PAIRS.has(name)) return sorted(pairs(items));
  if (/^[SHZ]?SCAN$/.test(name))
    return [sorted(name === 'HSCAN' || name === 'ZSCAN' ? pairs(itemsOf(items[1]!)!) : itemsOf(items[1]!)!)];
  if (name === 'XPENDING' && command.length > 3)
    return items.map(row => replaceAt(row, 2, idle => idleClass(Number(idle))));
  if (name === 'XINFO') return hideTimes(reply);
  return reply;
}

/** An idle time has just been reset, or lies far back because XCLAIM said so: 100 s, or at the beginning of 1970. */
const idleClass = (idle: number): string => (idle < 50_000 ? 'fresh' : idle < 1e9 ? 'IDLE' : '1970');

export function sameReply(command: readonly string[], a: Wire, b: Wire): boolean {
  const tolerance = CLOCK_TOLERANCE[command[0]!.toUpperCase()];
  if (tolerance !== undefined && typeof a === 'number' && typeof b === 'number' && a > 0 && b > 0) {
    return Math.abs(a - b) <= tolerance;
  }
  return JSON.stringify(normalise(command, a)) === JSON.stringify(normalise(command, b));
}

function isError(reply: Wire): reply is {kind: 'error'; text: string} {
  return typeof reply === 'object' && reply !== null && 'kind' in reply && reply.kind === 'error';
}

function itemsOf(reply: Wire): Wire[] | undefined {
  if (Array.isArray(reply)) return reply;
  return typeof reply === 'object' && reply !== null && 'items' in reply ? reply.items : undefined;
}

const sorted = (items: readonly Wire[]): Wire[] =>
  [...items].sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));

function pairs(items: readonly Wire[]): Wire[] {
  const out: Wire[] = [];
  for (let i = 0; i < items.length; i += 2) out.push([items[i]!, items[i + 1]!]);
  return out;
}

function replaceAt(row: Wire, index: number, change: (value: Wire) => Wire): Wire {
  return Array.isArray(row) ? row.map((item, at) => (at === index ? change(item) : item)) : row;
}

const TIMES = new Set(['idle', 'seen-time', 'radix-tree-nodes', 'radix-tree-keys']);

/** XINFO's maps come as flat lists; pending rows end in a time and a count. */
function hideTimes(reply: Wire): Wire {
  const items = itemsOf(reply);
  if (items === undefined) return reply;
  return items.map((item, index) => {
    const before = items[index - 1];
    if (typeof before === 'string' && TIMES.has(before)) return 0;
    const rows = itemsOf(item);
    if ((before === 'pending' || before === 'pel') && rows !== undefined) {
      return rows.map(row => replaceAt(row, itemsOf(row)!.length - 2, () => 0));
    }
    return hideTimes(item);
  });
}
