/** Random members with or without repetition (SRANDMEMBER, HRANDFIELD, ZRANDMEMBER). */
import type {IndexedMap, Slot} from './indexed-map.js';
import {CommandError} from './reply.js';

/** A negative count allows repeats. Its size is bounded so that one request cannot ask for all memory. */
export function randomSlots<V>(map: IndexedMap<V>, count: number): Slot<V>[] {
  if (map.size === 0 || count === 0) return [];
  if (count < 0) {
    if (-count > Number.MAX_SAFE_INTEGER / 2) throw new CommandError('ERR value is out of range');
    const out: Slot<V>[] = [];
    for (let i = 0; i < -count; i++) {
      const slot = map.random();
      if (slot !== undefined) out.push(slot);
    }
    return out;
  }
  if (count >= map.size) return [...map];
  if (count * 3 > map.size) return shuffled([...map]).slice(0, count);
  const chosen = new Set<Slot<V>>();
  while (chosen.size < count) {
    const slot = map.random();
    if (slot !== undefined) chosen.add(slot);
  }
  return [...chosen];
}

function shuffled<T>(items: T[]): T[] {
  for (let i = items.length - 1; i > 0; i--) {
    const j = Math.floor(Math.random() * (i + 1));
    const a = items[i];
    const b = items[j];
    if (a !== undefined && b !== undefined) [items[i], items[j]] = [b, a];
  }
  return items;
}
