/** The lines of a session as they come in: merged, kept up to a limit, handed out in batches. No I/O. */
import type {TailEvent, TailEventType, TailLine} from './event.js';
import {DeltaMerger} from './merge.js';

/** What a person chose to see. */
export interface Selection {
  /** Case does not matter; empty shows everything. */
  readonly text: string;
  readonly types: readonly TailEventType[] | null;
  readonly agentType: string | null;
}

export interface Batch {
  readonly lines: readonly TailLine[];
  /** Lines that were overwritten before anybody saw them. */
  readonly lost: number;
}

const DEFAULT_CAPACITY = 10_000;
const MOST_AGENTS = 100;

export class TailFeed {
  readonly #merger = new DeltaMerger();
  readonly #ring: (TailLine | undefined)[] = [];
  readonly #agents = new Set<string>();
  readonly #capacity: number;
  #written = 0;
  #taken = 0;
  #events = 0;
  #asks = 0;
  #lastEventId = '';
  #lastTakenId = '';

  constructor(capacity = DEFAULT_CAPACITY) {
    this.#capacity = capacity;
  }

  push(event: TailEvent): void {
    this.#events++;
    if (event.type === 'ask') this.#asks++;
    this.#lastEventId = event.id;
    if (event.agentType !== '' && this.#agents.size < MOST_AGENTS) this.#agents.add(event.agentType);
    this.#store(this.#merger.push(event));
  }

  /** No more events: lines that were still growing are complete now. */
  end(): void {
    this.#store(this.#merger.end());
  }

  /** Everything that came since the last batch, as far as it is still there and selected. */
  take(selection: Selection): Batch {
    const from = Math.max(this.#taken, this.#written - this.#capacity);
    const lost = from - this.#taken;
    const fresh = this.#slice(from);
    this.#taken = this.#written;
    this.#lastTakenId = this.#lastEventId;
    return {lines: fresh.filter(line => isSelected(line, selection)), lost};
  }

  /** The newest lines that were handed out before and are selected: to show again after the selection changed. */
  recent(selection: Selection, limit: number): TailLine[] {
    const seen = this.#slice(Math.max(0, this.#written - this.#capacity), this.#taken);
    return seen.filter(line => isSelected(line, selection)).slice(-limit);
  }

  /** Lines that still grow and are selected. */
  partials(selection: Selection): TailLine[] {
    return this.#merger.partials.filter(line => isSelected(line, selection));
  }

  get events(): number {
    return this.#events;
  }

  /** Questions that came. */
  get asks(): number {
    return this.#asks;
  }

  /** Lines nobody has taken yet. */
  get unseen(): number {
    return this.#written - this.#taken;
  }

  get agents(): readonly string[] {
    return Array.from(this.#agents);
  }

  /** Stream id of the newest event whose lines were taken: where to go on later. */
  get lastTakenId(): string {
    return this.#lastTakenId;
  }

  /** How many lines are held. */
  get size(): number {
    return this.#ring.length;
  }

  #store(lines: readonly TailLine[]): void {
    for (const line of lines) this.#ring[this.#written++ % this.#capacity] = line;
  }

  #slice(from: number, to = this.#written): TailLine[] {
    const lines: TailLine[] = [];
    for (let at = from; at < to; at++) {
      const line = this.#ring[at % this.#capacity];
      if (line !== undefined) lines.push(line);
    }
    return lines;
  }
}

export function isSelected(line: TailLine, {text, types, agentType}: Selection): boolean {
  if (types !== null && !types.includes(line.type)) return false;
  if (agentType !== null && line.agentType !== agentType) return false;
  return text === '' || line.text.toLowerCase().includes(text) || line.agentType.toLowerCase().includes(text);
}
