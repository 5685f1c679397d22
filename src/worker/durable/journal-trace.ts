/**
 * What a tracer is told of a durable execution's journal: a span for each step, question and sleep, when the code is given
 * what came of it. Start and end are those of the journal, so an attempt that was cut off and the one after it tell the
 * same span. Calls are told where they are sent.
 */
import {textOf} from '../../protocol/fields.js';
import {isObject} from '../../protocol/limits.js';
import type {Answer, JournalEntry, Outcome} from '../../protocol/journal.js';
import {spanIds} from '../../protocol/trace.js';
import {
  tellSpan,
  type LiveSpan,
  type SpanEnd,
  type SpanParent,
  type SpanStart,
  type Tracer,
} from '../../protocol/tracer.js';
import {textOfFailure} from './failures.js';

/** An outcome as it reaches the code. */
export interface Given {
  readonly index: number;
  readonly entry: JournalEntry;
  readonly outcome: Outcome;
  /** No turn that suspended had given it to the code before. */
  readonly isNew: boolean;
  /** The attempt that sent the call was cut off, and its answer came before this one looked. */
  readonly wasCutOff: boolean;
}

export interface JournalTrace {
  /** The time to note with a new entry, in Unix milliseconds; undefined if nothing is told. */
  readonly askedAt: (() => number) | undefined;
  /** Run the effect of a step. */
  step<T>(index: number, entry: JournalEntry, effect: () => T): T;
  given(given: Given): void;
}

/** A step's effect, carried out inside of its span. */
export const tracedStep =
  <T>(trace: Pick<JournalTrace, 'step'>, effect: (entry: JournalEntry, index: number) => T) =>
  (entry: JournalEntry, index: number): T =>
    trace.step(index, entry, () => effect(entry, index));

export function journalTrace(
  tracer: Tracer,
  now: () => number,
  facts: Omit<SpanStart, 'spanId' | 'parent' | 'operation' | 'startTs'>,
  parent: SpanParent,
  within: <T>(span: {readonly live: LiveSpan; readonly spanId: string}, code: () => T) => T,
): Pick<JournalTrace, 'step' | 'given'> {
  const steps = new Map<number, LiveSpan>();
  const stepStart = (index: number, {target, askedAt = now()}: JournalEntry): SpanStart => ({
    ...{...facts, parent, startTs: askedAt, operation: 'agent.step', name: `step ${target}`},
    spanId: `${parent.spanId}:step:${index}`,
    attributes: {'by.step': target, 'by.journal_index': index},
  });
  return {
    step(index, entry, effect) {
      const start = stepStart(index, entry);
      const live = tracer.start(start);
      steps.set(index, live);
      return within({live, spanId: start.spanId}, effect);
    },
    given({index, entry, outcome, isNew, wasCutOff}) {
      const open = steps.get(index);
      if (!isNew || (entry.askedAt ?? 0) === 0) return;
      const startTs = entry.askedAt ?? 0;
      const end = endOf(tracer, outcome);
      switch (entry.kind) {
        case 'step':
          // Events of a call are fetched in steps of ours, which are no work of the agent.
          if (open !== undefined) open.end(end);
          else if (!entry.target.startsWith('events of ')) tellSpan(tracer, stepStart(index, entry), end);
          return;
        case 'call':
          if (!wasCutOff) return;
          tellSpan(
            tracer,
            {
              ...{...facts, parent, startTs, operation: 'client.dispatch', kind: 'producer'},
              ...{
                component: 'agent_context',
                messageId: entry.messageId,
                parentMessageId: facts.messageId ?? '',
              },
              ...{sourceAgentType: facts.targetAgentType ?? '', targetAgentType: entry.target},
              spanId: spanIds.dispatch(entry.messageId),
            },
            {status: 'COMPLETED', endTs: startTs},
          );
          return;
        case 'cancel':
          // Told by the spans of what it ended.
          return;
        case 'ask-user':
        case 'sleep':
          tellSpan(
            tracer,
            {
              ...{...facts, parent, startTs, spanId: entry.messageId},
              operation: entry.kind === 'sleep' ? 'agent.sleep' : 'agent.ask_user',
              ...(tracer.takesContent && entry.kind === 'ask-user' ? {input: entry.note} : {}),
              attributes: {'by.journal_index': index},
            },
            entry.kind === 'sleep' ? {...end, status: 'COMPLETED'} : end,
          );
      }
    },
  };
}

function endOf(tracer: Tracer, {at, value}: Outcome): SpanEnd {
  const status = value.status === '' ? 'COMPLETED' : value.status;
  return {
    ...{endTs: at, status},
    ...(status === 'FAILED' ? failureOf(value) : {}),
    ...(tracer.takesContent ? {output: isEmpty(value.content) ? value.data : value.content} : {}),
  };
}

function failureOf(answer: Answer): Pick<SpanEnd, 'errorType' | 'errorMessage' | 'errorCode'> {
  const data = isObject(answer.data) ? answer.data : {};
  return {
    errorType: textOf(data['error_name']) || 'Error',
    errorMessage: textOfFailure(answer),
    errorCode: textOf(data['error_code']),
  };
}

const isEmpty = (content: unknown): boolean => content === '' || content === null;
