/** `by tail`: where to begin, what to show, and in which form. */
import {ByError} from '../../errors.js';
import {itemToTailEvent, type TailEvent} from '../../observe/tail-event.js';
import {lastLinesStart} from '../../observe/last-lines.js';
import {followSession, sessionExists} from '../../store/data-streams.js';
import {requireOwn} from '../../store/ownership.js';
import {checkServer, type Store} from '../../store/store.js';
import type {Printer} from '../../cli/printer.js';
import {givenStart, lineCount, textPattern} from '../../cli/tail-start.js';
import type {Terminal} from '../../cli/tty.js';
import {plainTail} from './plain.js';

export interface RunTail {
  readonly store: Store;
  readonly printer: Printer;
  readonly terminal: Terminal;
  readonly output: string;
  readonly signal: AbortSignal;
  readonly sessionId: string;
  /** Whose the session must be; undefined for an operator. */
  readonly userCode?: string | undefined;
  readonly lines: string;
  readonly since?: string | undefined;
  readonly from?: string | undefined;
  readonly follow?: boolean | undefined;
  readonly until?: string | undefined;
  readonly event?: string | undefined;
  readonly agent?: string | undefined;
  readonly message?: string | undefined;
  readonly include?: string | undefined;
  readonly exclude?: string | undefined;
  readonly timestamps: boolean;
  readonly merge: boolean;
  readonly ui?: boolean | undefined;
  /** Answers to the questions that are asked, in order. */
  readonly answers: readonly string[];
  /** The command that goes on where a Ctrl-C stops this one. */
  setResume(command: string): void;
}

const KINDS = ['answer', 'reasoning', 'state', 'artifact', 'ask', 'final', 'end', 'task', 'gap', 'other'];

export interface TailResult {
  readonly sessionId: string;
  /** Newest stream id that was shown; '' if there was none. */
  readonly lastId: string;
  readonly reason: 'caught-up' | 'completed' | 'quit' | 'stopped';
  /** With `--json` only: everything, since one document can not stream. */
  readonly events?: readonly TailEvent[];
}

/** @throws {ByError} NOT_FOUND for an unknown session, USAGE for flags that make no sense. */
export async function runTail(run: RunTail): Promise<TailResult> {
  const wanted = filterOf(run);
  const lines = lineCount(run.lines);
  await checkServer(run.store);
  await requireOwn(run.store, run.sessionId, run.userCode ?? '');
  if (!(await sessionExists(run.store, run.sessionId))) {
    throw new ByError('NOT_FOUND', `There is no session "${run.sessionId}".`, {
      hint: 'Check the id: `by send` prints it, and sessions are kept for seven days.',
    });
  }
  const follows = run.follow ?? (run.terminal.isOutputTerminal && run.output === 'table');
  if (run.answers.length > 0 && !follows) {
    throw new ByError('USAGE', 'With --answer the command has to wait for the question.', {
      hint: 'Add --follow.',
    });
  }
  const after = await startingPoint(run, lines);
  const quit = new AbortController();
  const answering = answerBeforehand(run, quit);
  const state = {lastId: '', reason: 'caught-up' as TailResult['reason']};
  const events = selected(run, {after, follows, wanted, quit, state});

  if (useScreen(run, follows)) {
    const {personAtTail} = await import('./people.js');
    const {runTailScreen} = await import('./screen.js');
    const {lastId} = await runTailScreen({
      events,
      session: run.sessionId,
      signal: run.signal,
      onQuit: () => quit.abort(),
      timestamps: true,
      color: run.printer.hasColor,
      ascii: run.terminal.ascii,
      people: personAtTail(run.store, run),
    });
    await answering();
    const resume = `by tail ${run.sessionId} --from ${lastId || after}`;
    run.setResume(resume);
    run.printer.note(`left ${run.sessionId}; go on with  ${resume}`);
    return {sessionId: run.sessionId, lastId, reason: 'quit'};
  }
  const collected = await print(run, events);
  await answering();
  if (run.signal.aborted) state.reason = 'stopped';
  run.printer.event({type: 'end', reason: state.reason, lastId: state.lastId});
  return {sessionId: run.sessionId, ...state, ...(run.output === 'json' ? {events: collected} : {})};
}

/**
 * Give the answers of --answer as questions come. What goes wrong ends the tail.
 * @returns waits for that, and throws it.
 */
function answerBeforehand(run: RunTail, quit: AbortController): () => Promise<void> {
  if (run.answers.length === 0) return () => Promise.resolve();
  const over = new AbortController();
  const signal = AbortSignal.any([run.signal, quit.signal, over.signal]);
  let failure: unknown;
  const work = (async () => {
    try {
      const {answerInOrder} = await import('./people.js');
      await answerInOrder(run.store, run, run.answers, signal);
    } catch (error) {
      failure = error;
      quit.abort();
    }
  })();
  return async () => {
    over.abort();
    await work;
    if (failure !== undefined) throw failure as Error;
  };
}

async function print(run: RunTail, events: AsyncIterable<TailEvent>): Promise<TailEvent[]> {
  const {printer, output} = run;
  const collected: TailEvent[] = [];
  switch (output) {
    case 'json':
      for await (const event of events) collected.push(event);
      break;
    case 'jsonl':
      for await (const event of events) printer.event(event);
      break;
    case 'raw': {
      const streamed = new Set<string>();
      for await (const event of events) {
        if (event.type === 'answer') streamed.add(event.messageId);
        // The final answer repeats what was streamed.
        if (event.type === 'answer' || (event.type === 'final' && !streamed.has(event.messageId)))
          printer.raw(event.text);
        if (event.type === 'end') printer.endStream();
      }
      break;
    }
    default:
      for await (const line of plainTail(events, {timestamps: run.timestamps, merge: run.merge}))
        printer.out(line);
  }
  return collected;
}

interface Selection {
  readonly after: string;
  readonly follows: boolean;
  readonly wanted: (event: TailEvent) => boolean;
  readonly quit: AbortController;
  readonly state: {lastId: string; reason: TailResult['reason']};
}

async function* selected(
  run: RunTail,
  {after, follows, wanted, quit, state}: Selection,
): AsyncGenerator<TailEvent> {
  const signal = AbortSignal.any([run.signal, quit.signal]);
  for await (const item of followSession(run.store, run.sessionId, {
    after,
    signal,
    untilCaughtUp: !follows,
  })) {
    const event = itemToTailEvent(item);
    state.lastId = event.id;
    run.setResume(`by tail ${run.sessionId} --from ${event.id}`);
    if (wanted(event)) yield event;
    const ours = run.message === undefined || event.messageId === run.message;
    if (run.until === 'terminal' && event.type === 'end' && ours) {
      state.reason = 'completed';
      return;
    }
  }
}

function useScreen(run: RunTail, follows: boolean): boolean {
  if (run.output !== 'table' || run.ui === false || !follows) return false;
  const possible = run.terminal.canShowScreen && !run.terminal.ascii;
  if (run.ui === true && !possible) {
    throw new ByError('USAGE', 'The screen needs a terminal on both ends.', {
      hint: 'Leave --ui out, or use -o jsonl.',
    });
  }
  return possible;
}

async function startingPoint(run: RunTail, lines: number | 'all'): Promise<string> {
  const given = await givenStart(run.store, run);
  if (given !== undefined) return given;
  return lines === 'all' ? '0-0' : lastLinesStart(run.store, run.sessionId, lines);
}

function filterOf(run: RunTail): (event: TailEvent) => boolean {
  const kinds = run.event?.split(',').map(kind => kind.trim());
  for (const kind of kinds ?? []) {
    if (KINDS.includes(kind)) continue;
    throw new ByError('USAGE', `"${kind}" is no kind of event.`, {hint: `Kinds: ${KINDS.join(', ')}.`});
  }
  const include = textPattern('--include', run.include);
  const exclude = textPattern('--exclude', run.exclude);
  return event =>
    // A gap is always said: that something is missing is never noise.
    event.type === 'gap' ||
    ((kinds === undefined || kinds.includes(event.type)) &&
      (run.agent === undefined || event.agentType === run.agent) &&
      (run.message === undefined || event.messageId === run.message) &&
      (include === undefined || include.test(event.text)) &&
      !exclude?.test(event.text));
}
