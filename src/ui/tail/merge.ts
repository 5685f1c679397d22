/**
 * Joins the deltas of a message into lines. A line is handed out when it is complete: at a line feed, when something
 * else of the same message follows, or when it gets too long. Pure: the same events give the same lines.
 */
import {lineText, type TailEvent, type TailLine} from './event.js';

/** A line longer than this is broken: nobody reads it, and memory must stay bounded. */
const LONGEST_LINE = 4000;
/** More messages than this do not grow at once; the one that waited longest is handed out as it is. */
const MOST_OPEN = 64;
/** Of how many messages to remember that their answer was shown piece by piece. */
const MOST_REMEMBERED = 1000;

export class DeltaMerger {
  readonly #open = new Map<string, TailLine>();
  readonly #answered = new Set<string>();

  /** @returns The lines this event completes, in order. */
  push(event: TailEvent): TailLine[] {
    const {type} = event;
    if (type === 'answer' || type === 'reasoning') return this.#grow(event, type);
    const lines = this.#close(event.messageId);
    // The final answer repeats what was shown as it was written.
    if (type === 'final' && this.#answered.has(event.messageId)) return lines;
    return [...lines, ...wholeLines(event)];
  }

  /** Lines that still grow, oldest first. */
  get partials(): TailLine[] {
    return Array.from(this.#open.values());
  }

  /** @returns What is left when no more events come. */
  end(): TailLine[] {
    const lines = this.partials;
    this.#open.clear();
    return lines;
  }

  #grow(event: TailEvent, type: 'answer' | 'reasoning'): TailLine[] {
    if (type === 'answer') this.#remember(event.messageId);
    const key = keyOf(event.messageId, type);
    const closed = this.#close(event.messageId, key);
    const before = this.#open.get(key);
    const lines = splitLines((before?.text ?? '') + event.text).map(text => toLine(event, text, before?.ts));
    const partial = lines.pop();
    if (partial === undefined || partial.text === '') this.#open.delete(key);
    else this.#open.set(key, partial);
    return [...closed, ...lines, ...this.#closeOldest()];
  }

  /** Takes out the growing lines of a message, except one. */
  #close(messageId: string, except?: string): TailLine[] {
    const lines: TailLine[] = [];
    for (const type of ['reasoning', 'answer'] as const) {
      const key = keyOf(messageId, type);
      const line = this.#open.get(key);
      if (line === undefined || key === except) continue;
      lines.push(line);
      this.#open.delete(key);
    }
    return lines;
  }

  #closeOldest(): TailLine[] {
    if (this.#open.size <= MOST_OPEN) return [];
    const [oldest] = this.#open;
    if (oldest === undefined) return [];
    this.#open.delete(oldest[0]);
    return [oldest[1]];
  }

  #remember(messageId: string): void {
    this.#answered.add(messageId);
    if (this.#answered.size <= MOST_REMEMBERED) return;
    const [oldest] = this.#answered;
    if (oldest !== undefined) this.#answered.delete(oldest);
  }
}

const keyOf = (messageId: string, type: 'answer' | 'reasoning') => `${type}\n${messageId}`;

const toLine = ({type, id, ts, agentType, messageId}: TailEvent, text: string, startedAt = ts): TailLine => ({
  type,
  id,
  ts: startedAt,
  agentType,
  messageId,
  text,
});

function wholeLines(event: TailEvent): TailLine[] {
  const lines = splitLines(lineText(event));
  // An answer ends with a line feed more often than not; an empty line after it says nothing.
  if (lines.length > 1 && lines.at(-1) === '') lines.pop();
  return lines.map(text => toLine(event, text));
}

/** Lines without their ends, none longer than the limit; a trailing piece without an end comes last, even if empty. */
function splitLines(text: string): string[] {
  return text.split(/\r?\n/).flatMap(line => {
    if (line.length <= LONGEST_LINE) return [line];
    const pieces: string[] = [];
    for (let start = 0; start < line.length; start += LONGEST_LINE) {
      pieces.push(line.slice(start, start + LONGEST_LINE));
    }
    return pieces;
  });
}
