/** One turn of a durable execution: its journal is opened, its code runs, and the turn ends or waits. */
import {
  commandToWire,
  readCommandEntry,
  type AskCommand,
  type ResumeCommand,
} from '../../protocol/commands.js';
import {cleanCount} from '../../protocol/execution.js';
import type {Header} from '../../protocol/header.js';
import {EMPTY_JOURNAL, type Answer, type Journal} from '../../protocol/journal.js';
import type {ControlEntry} from '../../store/control-streams.js';
import {entryTimeMs} from '../../protocol/deadletter.js';
import {followSession} from '../../store/data-streams.js';
import type {Claim} from '../../store/executions.js';
import {readJournal, suspendTurn, writeJournal, type JournalWrite} from '../../store/journal.js';
import {KEEP_EVERY_MS, setTimer} from '../../store/timers.js';
import type {Store} from '../../store/store.js';
import {askOf, type Handler} from '../agent.js';
import type {ContextFacts} from '../context.js';
import type {EventWriter, TurnIdentity} from '../event-writer.js';
import type {RunningTask} from '../running.js';
import type {TurnEnvironment} from '../turn.js';
import {DurableContext, type SendCall} from './context.js';
import {DurableRun, type DurableHost, type RunEnd} from './run.js';

export type TurnCommand = AskCommand | ResumeCommand;

/** The largest sequence number of a stream id. */
const LAST_SEQUENCE = '18446744073709551615';

/** In a Cluster the command's stream may live on another node than the session's. Before it, nothing of it was told. */
const CLOCKS_APART_MS = 3_600_000;

/** Message id of the entry of the journal a RESUME answers: the call it replies to; undefined if it does not say. */
export function questionOf({sourceAgentType, parentMessageId, metadata}: Header): string | undefined {
  if (sourceAgentType !== '') return parentMessageId;
  const named = metadata['by_question'];
  return typeof named === 'string' ? named : undefined;
}

export function answerIn({header, status, content, replyData}: ResumeCommand): Answer {
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
  /** As the claim read it; undefined if it did not. */
  readonly journal: Journal | undefined;
  readonly task: RunningTask;
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
  const {record} = claim;
  const journal = await openJournal(env.store, turn);
  const began = journal.ask === '' ? command : readBegin(journal.ask);
  if (journal.ask !== '') await facts.plugins?.pin(began.header.metadata, record);
  // Another attempt has its session: as if it had been cancelled.
  if (!(await env.fences.mayRun(turn.task, began.header.metadata)))
    return {kind: 'refused', verdict: 'cancelling'};
  let hasAsk = journal.ask !== '';
  const emitted = await emittedBefore(env.store, turn, journal);
  const host: DurableHost = {
    executionId: claim.executionId,
    attempt: claim.attempt,
    get stopReason() {
      return turn.task.stopReason;
    },
    onStop: listener => turn.task.onStop(listener),
    trace: facts.trace,
    write: writes => {
      const ask: JournalWrite[] = hasAsk
        ? []
        : [{kind: 'ask', index: 0, document: JSON.stringify(commandToWire(beginning(command, facts)))}];
      hasAsk = true;
      return writeJournal(env.store, identity, [...ask, ...writes]);
    },
    read: () => readJournal(env.store, identity),
    listen: listener => turn.task.listen(listener),
    isNear: agentType => env.servesNow(agentType),
    setTimer: (id, at) => setTimer(env.store, identity, id, at),
    suspend: async waiting => {
      try {
        await writer.flush();
      } catch (error) {
        if (writer.isFenced) return 'fenced';
        throw error;
      }
      const now = env.now();
      const verdict = await suspendTurn(env.store, identity, {
        patch: {
          ...{status: waiting.status, updated_at: now, finished_at: 0},
          ...facts.plugins?.recordFields(false),
          ...cleanCount(record),
          ...facts.trace.noted(),
        },
        end: waiting.end,
        ...(journal.end === undefined ? {keepAt: now + KEEP_EVERY_MS} : {}),
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
    task: turn.task,
    stepAside: turn.stepAside,
  };
  const parts = {run: durable, send: turn.send, source};
  const ctx = new DurableContext({...facts, header: began.header}, writer, parts);
  return durable.run(() => run(ctx, askOf(began)));
}

/** The command as the journal keeps it, with the configuration its code began with: prompts go into what it asks for. */
function beginning(command: TurnCommand, {plugins}: ContextFacts): TurnCommand {
  if (plugins === undefined) return command;
  const {header} = command;
  return {...command, header: {...header, metadata: {...header.metadata, ...plugins.mark}}};
}

function readBegin(ask: string): TurnCommand {
  const command = readCommandEntry(ask);
  if (command.action === 'ASK_AGENT' || command.action === 'RESUME') return command;
  throw new TypeError(`a durable execution began with ${command.action}`);
}

async function openJournal(
  store: Store,
  {claim, command, identity, journal: known}: DurableTurn,
): Promise<Journal> {
  // Nobody has begun it: there is nothing to read, unless it was given a journal to begin with.
  if (claim.attempt === 1 && command.header.metadata['by_replay_from'] === undefined) return EMPTY_JOURNAL;
  const journal = known ?? (await readJournal(store, identity));
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
    if (!isOurs) continue;
    // It was said in this turn, by an attempt that could not go on.
    facts.history.hear(item.event);
    if (metadata['by_step'] === undefined) count++;
  }
  return count;
}
