/** One turn of a durable execution: its journal is opened, its code runs, and the turn ends or waits. */
import {
  commandToWire,
  readCommandEntry,
  type AskCommand,
  type ResumeCommand,
} from '../../protocol/commands.js';
import {cleanCount, type ExecutionRecord} from '../../protocol/execution.js';
import type {Header} from '../../protocol/header.js';
import {isTerminal} from '../../protocol/states.js';
import {EMPTY_JOURNAL, type Answer, type Journal} from '../../protocol/journal.js';
import type {ControlEntry} from '../../store/control-streams.js';
import {entryTimeMs} from '../../protocol/deadletter.js';
import {followSession} from '../../store/data-streams.js';
import type {Claim} from '../../store/executions.js';
import {
  keepAnswer,
  readJournal,
  suspendTurn,
  writeJournal,
  type AnswerVerdict,
  type JournalWrite,
} from '../../store/journal.js';
import {keepWaiting, setTimer} from '../../store/timers.js';
import type {Store} from '../../store/store.js';
import {askOf, type Handler} from '../agent.js';
import type {ContextFacts} from '../context.js';
import type {EventWriter, TurnIdentity} from '../event-writer.js';
import {resumedRecord} from '../resume.js';
import type {TurnEnvironment} from '../turn.js';
import {DurableContext, type SendCall} from './context.js';
import {DurableRun, type DurableHost, type RunEnd} from './run.js';

export type TurnCommand = AskCommand | ResumeCommand;

/** The largest sequence number of a stream id. */
const LAST_SEQUENCE = '18446744073709551615';

/** In a Cluster the command's stream may live on another node than the session's. Before it, nothing of it was told. */
const CLOCKS_APART_MS = 3_600_000;

/** What a RESUME is to the execution it names. */
export type AnswerTo =
  /** A turn has to begin, of this execution. */
  | {readonly kind: 'begin'; readonly record: ExecutionRecord}
  /** Nothing more to do with it. */
  | {readonly kind: 'done'; readonly why: AnswerVerdict}
  | {readonly kind: 'later'}
  /** It answers nothing that is known: a person continues an execution that has ended, or nobody knows it. */
  | {readonly kind: 'anew'; readonly record: ExecutionRecord | undefined};

/**
 * Keep what a RESUME brings. An execution that waits for many answers is not run for each: those that come while a turn
 * runs are found by it before it waits.
 */
export async function takeAnswer(
  store: Store,
  entry: ControlEntry,
  command: ResumeCommand,
): Promise<AnswerTo> {
  const {header} = command;
  const {sessionId} = header;
  const record = await resumedRecord(store, header);
  if (record === undefined) return {kind: 'anew', record};
  // Its own turn was cut off: it is begun again.
  if (record.extra['x_entry'] === `${entry.stream}/${entry.id}`) return {kind: 'begin', record};
  const {executionId} = record;
  const question = isTerminal(record.status)
    ? namedQuestion(header)
    : await questionOf(store, command, record);
  if (question === undefined) return {kind: 'anew', record};
  const verdict = await keepAnswer(store, {sessionId, executionId}, question, answerIn(command));
  switch (verdict) {
    case 'begin':
      return {kind: 'begin', record};
    case 'early':
      return {kind: 'later'};
    case 'terminal':
    case 'missing':
    case 'kept':
    case 'answered':
    case 'unknown':
      return {kind: 'done', why: verdict};
  }
}

/** The entry of the journal a RESUME answers: the call it replies to, or the question a person was asked first. */
async function questionOf(
  store: Store,
  {header}: ResumeCommand,
  {sessionId, executionId}: ExecutionRecord,
): Promise<string | undefined> {
  const named = namedQuestion(header);
  if (named !== undefined) return named;
  const {entries, outcomes} = await readJournal(store, {sessionId, executionId});
  const open = [...entries].filter(([index, {kind}]) => kind === 'ask-user' && !outcomes.has(index));
  return open.sort(([a], [b]) => a - b)[0]?.[1].messageId;
}

function namedQuestion({sourceAgentType, parentMessageId, metadata}: Header): string | undefined {
  if (sourceAgentType !== '') return parentMessageId;
  const named = metadata['by_question'];
  return typeof named === 'string' ? named : undefined;
}

function answerIn({header, status, content, replyData}: ResumeCommand): Answer {
  // A question's timer answers it, and nobody else's status says so.
  const isTimer = typeof header.metadata['by_timer'] === 'string';
  const isLate = isTimer && header.parentMessageId.startsWith('ask-');
  return {
    status: isLate ? 'EXPIRED' : status === '' ? 'COMPLETED' : status,
    content,
    data: replyData,
    metadata: header.metadata,
  };
}

export interface DurableTurn {
  readonly entry: ControlEntry;
  readonly command: TurnCommand;
  readonly claim: Claim;
  readonly identity: TurnIdentity;
  readonly writer: EventWriter;
  /** Of the context, but for the header: that is the one of the command that began the run. */
  readonly facts: ContextFacts;
  readonly send: SendCall;
  /** Gives the turn's slot to others until the returned function is called. */
  readonly stepAside: () => () => void;
}

/** Run the code of a durable agent until it ends, or its turn does. */
export async function runDurable(
  env: TurnEnvironment,
  turn: DurableTurn,
  run: NonNullable<Handler['run']>,
): Promise<RunEnd> {
  const {claim, command, identity, writer, facts} = turn;
  const journal = await openJournal(env.store, turn);
  const began = journal.ask === '' ? command : readBegin(journal.ask);
  const {record} = claim;
  let hasAsk = journal.ask !== '';
  const emitted = await emittedBefore(env.store, turn, journal);
  const host: DurableHost = {
    executionId: claim.executionId,
    attempt: claim.attempt,
    signal: facts.signal,
    trace: facts.trace,
    write: writes => {
      const ask: JournalWrite[] = hasAsk
        ? []
        : [{kind: 'ask', index: 0, document: JSON.stringify(commandToWire(command))}];
      hasAsk = true;
      return writeJournal(env.store, identity, [...ask, ...writes]);
    },
    read: () => readJournal(env.store, identity),
    setTimer: (id, at) => setTimer(env.store, identity, id, at),
    suspend: async waiting => {
      try {
        await writer.flush();
      } catch (error) {
        if (writer.isFenced) return 'fenced';
        throw error;
      }
      const now = env.now();
      if (journal.end === undefined) await keepWaiting(env.store, identity, now);
      const verdict = await suspendTurn(env.store, identity, {
        patch: {
          ...{status: waiting.status, updated_at: now, finished_at: 0},
          ...cleanCount(record),
          ...facts.trace.noted(),
        },
        end: waiting.end,
        settle: {
          stream: turn.entry.stream,
          group: env.group,
          entryId: turn.entry.id,
          deleteEntry: env.deletesEntries(turn.entry.stream),
        },
      });
      if (verdict === 'ok') env.wakeIn?.(waiting.nextTimerInMs);
      return verdict;
    },
  };
  const durable = new DurableRun(host, journal, emitted, record.createdAt || record.startedAt);
  const source = {
    store: env.store,
    turn: identity,
    signal: facts.signal,
    stepAside: turn.stepAside,
  };
  const parts = {run: durable, send: turn.send, source};
  const ctx = new DurableContext({...facts, header: began.header}, writer, parts);
  return durable.run(() => run(ctx, askOf(began)));
}

function readBegin(ask: string): TurnCommand {
  const command = readCommandEntry(ask);
  if (command.action === 'ASK_AGENT' || command.action === 'RESUME') return command;
  throw new TypeError(`a durable execution began with ${command.action}`);
}

async function openJournal(store: Store, {claim, command, identity}: DurableTurn): Promise<Journal> {
  // Nobody has begun it: there is nothing to read, unless it was given a journal to begin with.
  if (claim.attempt === 1 && command.header.metadata['by_replay_from'] === undefined) return EMPTY_JOURNAL;
  const journal = await readJournal(store, identity);
  const reopenedAt = Number(claim.record.extra['x_reopened_at'] ?? 0);
  if (reopenedAt <= journal.since) return journal;
  await writeJournal(store, identity, [{kind: 'reset', index: 0, since: reopenedAt}]);
  return readJournal(store, identity);
}

/**
 * Events the code has emitted in the turns before, those of its steps apart. A turn that suspended has counted them; what
 * one wrote that was cut off is counted in the data stream.
 */
async function emittedBefore(
  store: Store,
  {claim, entry, facts, identity}: DurableTurn,
  {end, since, entries}: Journal,
): Promise<number> {
  const counted = end?.emitted ?? 0;
  if (claim.attempt === (end?.attempt ?? 0) + 1) return counted;
  const from = Math.max(end?.at ?? 0, since) || entryTimeMs(entry.id) - CLOCKS_APART_MS;
  const children = new Set([...entries.values()].map(({messageId}) => messageId));
  let count = counted;
  const after = `${end === undefined ? from - 1 : from}-${LAST_SEQUENCE}`;
  for await (const item of followSession(store, identity.sessionId, {after, untilCaughtUp: true})) {
    if (item.kind !== 'event') continue;
    const {sourceAgentType, messageId, parentMessageId, metadata} = item.event;
    const isOurs =
      sourceAgentType === facts.agentType &&
      (messageId === facts.messageId || (parentMessageId === facts.messageId && !children.has(messageId)));
    if (isOurs && metadata['by_step'] === undefined) count++;
  }
  return count;
}
