/** What durable operations throw into agent code, and what they end an execution with. */
import {ByError} from '../../errors.js';
import {
  MAX_JOURNAL_BYTES,
  MAX_JOURNAL_ENTRIES,
  type Answer,
  type JournalEntry,
} from '../../protocol/journal.js';

/** An agent that was called did not complete. Catch it to do something else; thrown on, it ends the execution. */
export class CallFailed extends Error {
  override readonly name = 'CallFailed';
  /** The answer stays what it is: the next attempt would find the same. */
  readonly retryable = false;

  constructor(
    /** The agent type that was called. */
    readonly agentType: string,
    /** `FAILED`, `CANCELLED`, or the status an agent of another SDK replied and then said no more. */
    readonly status: string,
    message: string,
    /** What it replied. */
    readonly data: unknown,
    /** Ours, if the failure has one: `AGENT_TYPE_UNAVAILABLE`, `DEADLINE_EXCEEDED`, ... */
    readonly code: string,
  ) {
    super(message);
  }
}

/** A step has thrown as often as its retry policy allows. What it threw last is told by `message` and `errorName`. */
export class StepFailed extends Error {
  override readonly name = 'StepFailed';
  readonly retryable = false;

  constructor(
    readonly step: string,
    message: string,
    readonly errorName: string,
  ) {
    super(message);
  }
}

export const textOfFailure = (answer: Answer): string => {
  if (typeof answer.content === 'string' && answer.content !== '') return answer.content;
  const {data} = answer;
  if (typeof data === 'object' && data !== null) {
    for (const name of ['error', 'reason', 'message']) {
      const text = (data as Record<string, unknown>)[name];
      if (typeof text === 'string' && text !== '') return text;
    }
  }
  return typeof data === 'string' && data !== '' ? data : answer.status;
};

export const describe = ({kind, target, note}: Pick<JournalEntry, 'kind' | 'target' | 'note'>): string => {
  switch (kind) {
    case 'call':
      return `a call of "${target}" with ${JSON.stringify(note)}`;
    case 'ask-user':
      return `the question ${JSON.stringify(note)}`;
    case 'sleep':
      return `a sleep of ${note}`;
    case 'step':
      return `the step "${target}"`;
    case 'cancel':
      return `a cancel of the other calls (${note})`;
  }
};

export const mismatch = (index: number, journal: string, code: string): ByError =>
  new ByError(
    'JOURNAL_MISMATCH',
    `Entry ${index} of the journal is ${journal}, but the code asks for ${code}.`,
    {
      hint:
        'The code was changed while this execution waited, or does not do the same each time. Give the new code an agent ' +
        'type of its own, or start the execution again (`by exec replay ID`).',
      details: {entry: index},
    },
  );

export const notAskedAgain = (index: number, journal: string): ByError =>
  new ByError(
    'JOURNAL_MISMATCH',
    `The code does not ask for entry ${index} of the journal again: ${journal}.`,
    {
      hint:
        'The code was changed while this execution waited, or does not do the same each time: put what is not the same ' +
        'each time into ctx.step, and take time and chance from ctx.now(), ctx.random() and ctx.uuid().',
      details: {entry: index},
    },
  );

export const journalFull = (of: 'entries' | 'bytes'): ByError =>
  new ByError(
    'JOURNAL_TOO_LARGE',
    of === 'entries'
      ? `The journal of this execution has its ${MAX_JOURNAL_ENTRIES} entries.`
      : `The journal of this execution would be larger than ${MAX_JOURNAL_BYTES} bytes.`,
    {
      hint:
        of === 'entries'
          ? 'Let parts of the work be agents of their own and call them, or do more in one step.'
          : 'Keep large results in a file or an object store, and return their address.',
    },
  );

export const turnOver = (): ByError =>
  new ByError('SUSPENSION_SWALLOWED', 'This turn has ended: the execution waits for answers.', {
    hint:
      'Something else than ctx made the code go on while it waits, a timer for example. Use ctx.sleep, ctx.callAny or a ' +
      'deadline of the call in its place.',
  });

export const inStep = (what: string): ByError =>
  new ByError('INVALID_INPUT', `${what} can not be used inside a step.`, {
    hint: 'A step is one effect whose result is kept. Call agents, ask and sleep outside of it.',
  });
