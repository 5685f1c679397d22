/** `by exec show --journal`: the story of a durable execution. */
import {textOf} from '../protocol/fields.js';
import type {Answer, Journal, JournalEntry} from '../protocol/journal.js';
import {formatDuration} from './duration.js';
import {opaque} from './json.js';
import {paint, type Printer, type Text} from './printer.js';
import {isoTime} from './time.js';

/** @param nowMs by Redis's clock. */
export function printJournal(printer: Printer, journal: Journal, startedAt: number, nowMs: number): void {
  const entries = [...journal.entries].sort(([a], [b]) => a - b);
  printer.out();
  if (entries.length === 0) {
    printer.out(paint.dim('Its code has asked for nothing that is kept.'));
    return;
  }
  printer.table(entries, [
    {header: 'ENTRY', value: ([index]) => String(index)},
    {header: 'ASKED', value: ([, entry]) => askedText(entry), shrink: true},
    {header: 'CAME', value: ([index]) => cameText(journal, index, startedAt)},
    {header: 'OUTCOME', value: ([index, entry]) => outcomeText(journal, index, entry, nowMs), shrink: true},
  ]);
}

function askedText({kind, target, note}: JournalEntry): string {
  switch (kind) {
    case 'call':
      return `call ${target}: ${note}`;
    case 'ask-user':
      return `ask: ${note}`;
    case 'sleep':
      return `sleep ${note}`;
    case 'step':
      return `step ${target}`;
    case 'cancel':
      return `cancel the rest: ${note}`;
  }
}

function cameText({outcomes}: Journal, index: number, startedAt: number): string {
  const outcome = outcomes.get(index);
  if (outcome === undefined) return '-';
  return `${outcome.order}. +${formatDuration(Math.max(0, outcome.at - startedAt))}`;
}

function outcomeText(journal: Journal, index: number, entry: JournalEntry, nowMs: number): Text {
  const outcome = journal.outcomes.get(index);
  if (outcome !== undefined)
    return isGood(outcome.value) ? valueText(outcome.value) : paint.red(failureText(outcome.value));
  const tries = journal.tries.get(index);
  if (tries !== undefined) return paint.yellow(`failed ${tries.failed} times: ${tries.error}`);
  if (entry.dueAt > 0) {
    const left = entry.dueAt - nowMs;
    const when = left > 0 ? `in ${formatDuration(left)}` : `${formatDuration(-left)} ago`;
    const until = entry.kind === 'ask-user' ? 'waits for a person until' : 'due';
    return paint.yellow(`${until} ${isoTime(entry.dueAt)} (${when})`);
  }
  return paint.yellow(entry.kind === 'ask-user' ? 'waits for a person' : 'not yet');
}

const isGood = ({status}: Answer): boolean => status === 'COMPLETED' || status === '';

function valueText({content, data}: Answer): string {
  if (typeof content === 'string' && content !== '') return content;
  if (Array.isArray(content) && content.length > 0) return JSON.stringify(content);
  return data === null ? 'done' : JSON.stringify(data);
}

function failureText({status, content, data}: Answer): string {
  const why =
    typeof content === 'string' && content !== '' ? content : data === null ? '' : JSON.stringify(data);
  return why === '' ? status : `${status}: ${why}`;
}

/** For programs. Times are Unix milliseconds by Redis's clock. */
export function journalView(journal: Journal) {
  return {
    entries: [...journal.entries]
      .sort(([a], [b]) => a - b)
      .map(([entry, {kind, target, note, messageId, dueAt}]) => {
        const outcome = journal.outcomes.get(entry);
        const tries = journal.tries.get(entry);
        return {
          ...{entry, kind, target, note, messageId},
          ...(dueAt > 0 ? {dueAt} : {}),
          ...(tries === undefined ? {} : {failedTries: tries.failed}),
          outcome:
            outcome === undefined
              ? null
              : {
                  ...{order: outcome.order, at: outcome.at, status: textOf(outcome.value.status)},
                  ...{content: opaque(outcome.value.content), data: opaque(outcome.value.data)},
                },
        };
      }),
    bytes: journal.bytes,
    run: journal.run,
  };
}
