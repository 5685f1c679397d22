/** `by exec list|show|tree`. */
import {deadLetterCode} from '../availability/replay.js';
import {replayExecution} from '../client/replay-execution.js';
import {systemClock} from '../clock.js';
import {ByError} from '../errors.js';
import {executionTree, type TreeRow} from '../observe/execution-tree.js';
import {whereabouts, type EntryPlace, type Whereabouts} from '../observe/execution-place.js';
import {deadlineOf} from '../protocol/deadline.js';
import {canonicalStatus} from '../protocol/states.js';
import {countedAttempts, pastAttempts, statusKind, type ExecutionRecord} from '../protocol/execution.js';
import {integerOf} from '../protocol/fields.js';
import type {RoutePolicy} from '../protocol/routing.js';
import {executionsInQueue, executionsInQueues, executionsOfWorker} from '../registry/open-executions.js';
import {findByMessage, findExecution} from '../store/executions.js';
import {readJournal} from '../store/journal.js';
import {serverTimeMs, type Store} from '../store/store.js';
import {chosenSession, requireSession, type SessionChoice} from './choose-session.js';
import {formatDuration} from './duration.js';
import {showFacts, type Fact} from './facts.js';
import {checkedId} from './ids.js';
import {opaque} from './json.js';
import {paint, type Printer, type Text} from './printer.js';
import {
  executionView,
  printExecutions,
  requireExecutions,
  statusText,
  tookMs,
  tookText,
} from './show-executions.js';
import {journalView, printJournal} from './show-journal.js';
import {stems} from './stems.js';
import {isoTime, relativeTime} from './time.js';

export interface ListRequest extends SessionChoice {
  readonly agent: string | undefined;
  readonly worker: string | undefined;
  readonly status: string | undefined;
  readonly limit: number;
  readonly group: string;
}

/** @throws {ByError} INVALID_INPUT, NOT_FOUND. */
export async function listForPeople(store: Store, printer: Printer, output: string, request: ListRequest) {
  const agent = request.agent === undefined ? undefined : checkedId(request.agent, 'agent type');
  const sessionId = await chosenSession(store, request);
  const source = await sourceOf(store, {...request, agent}, sessionId);
  const status = request.status === undefined ? undefined : canonicalStatus(request.status);
  const ofAgent = source.records.filter(record => agent === undefined || record.targetAgentType === agent);
  const matching = ofAgent.filter(
    record => status === undefined || canonicalStatus(record.status) === status,
  );
  const records = matching.slice(-request.limit);
  printExecutions(printer, output, records, sessionId === undefined);
  if (records.length === 0) printer.note(`No execution fits${inOtherStates(ofAgent)}.`);
  if (sessionId === undefined)
    printer.note(
      paint.dim(
        'what waits for a worker and what runs; what waits for an answer, or has ended, is in its session',
      ),
    );
  if (records.length < matching.length)
    printer.note(paint.dim(`the newest ${records.length} of ${matching.length}; more with --limit`));
  if (source.unknown > 0)
    printer.note(paint.dim(`${source.unknown} more entries belong to no execution that is known here`));
  return {
    ...(sessionId === undefined ? {} : {sessionId}),
    matched: matching.length,
    unknownEntries: source.unknown,
    executions: records.map(executionView),
  };
}

/** A mistyped state fits nothing, and any word may be one: other SDKs have states of their own. */
function inOtherStates(records: readonly ExecutionRecord[]): string {
  const counts = new Map<string, number>();
  for (const {status} of records)
    counts.set(canonicalStatus(status), (counts.get(canonicalStatus(status)) ?? 0) + 1);
  const told = [...counts].map(([status, count]) => `${count} ${status}`);
  return told.length === 0 ? '' : `; there are ${told.join(', ')}`;
}

async function sourceOf(
  store: Store,
  {agent, worker, limit, group}: ListRequest,
  sessionId: string | undefined,
): Promise<{readonly records: readonly ExecutionRecord[]; readonly unknown: number}> {
  if (sessionId !== undefined && worker !== undefined) {
    const all = await requireExecutions(store, sessionId);
    return {records: all.filter(({workerId}) => workerId === worker), unknown: 0};
  }
  if (sessionId !== undefined) return {records: await requireExecutions(store, sessionId), unknown: 0};
  if (worker !== undefined) return executionsOfWorker(store, checkedId(worker, 'worker id'), limit, group);
  return agent === undefined ? executionsInQueues(store, limit) : executionsInQueue(store, agent, limit);
}

/**
 * @param id an execution or a message of the session.
 * @throws {ByError} USAGE without a session, INVALID_INPUT, NOT_FOUND.
 */
export async function showForPeople(
  store: Store,
  printer: Printer,
  id: string,
  choice: SessionChoice & {readonly group: string; readonly journal: boolean},
) {
  const record = await requireExecution(store, id, choice);
  const [where, now] = await Promise.all([whereabouts(store, record, choice.group), serverTimeMs(store)]);
  showFacts(printer, [...factsOf(record, now), ...whereFacts(where)]);
  if (record.timeline.length > 0) printer.out();
  for (const step of record.timeline)
    printer.out(paint.dim(isoTime(step.timestamp)), '  ', statusText(step.status));
  for (const attempt of pastAttempts(record))
    printer.out(
      paint.dim('attempt  '),
      `${isoTime(attempt.at)}  ${attempt.workerId || '-'}  ${attempt.ended}  ${attempt.error}`,
    );
  const journal = choice.journal ? await readJournal(store, record) : undefined;
  if (journal !== undefined) printJournal(printer, journal, record.startedAt || record.createdAt, now);
  return {
    ...executionView(record),
    ...(journal === undefined ? {} : {journal: journalView(journal)}),
    attempts: attemptCount(record),
    ...countedAttempts(record),
    tookMs: tookMs(record),
    pastAttempts: pastAttempts(record),
    place: where.place,
    deadLetter:
      where.deadLetter === undefined
        ? null
        : {
            id: where.deadLetter.id,
            code: deadLetterCode(where.deadLetter.letter?.source ?? ''),
            reason: where.deadLetter.letter?.reason ?? '',
            replayed: where.deadLetterReplayed,
          },
  };
}

/**
 * @param id an execution or a message of the session.
 * @throws {ByError} USAGE without a session, INVALID_INPUT, NOT_FOUND.
 */
async function requireExecution(store: Store, id: string, choice: SessionChoice): Promise<ExecutionRecord> {
  const sessionId = await requireSession(store, choice);
  checkedId(id, 'execution or message id');
  const record = (await findExecution(store, sessionId, id)) ?? (await findByMessage(store, sessionId, id));
  if (record !== undefined) return record;
  const sessions = await requireExecutions(store, sessionId);
  throw new ByError('NOT_FOUND', `Session "${sessionId}" has no execution or message "${id}".`, {
    hint: `It has ${sessions.length}; see them with \`by exec list --session ${sessionId}\`.`,
    next: [`by exec list --session ${sessionId}`],
  });
}

/**
 * Start a durable execution again, as a new one.
 * @throws {ByError} as {@link showForPeople} and replayExecution.
 */
export async function replayForPeople(
  store: Store,
  printer: Printer,
  id: string,
  choice: SessionChoice & {
    readonly from: number;
    readonly policy: RoutePolicy;
    readonly confirm: (question: string) => Promise<boolean>;
  },
) {
  const record = await requireExecution(store, id, choice);
  const {from, policy} = choice;
  const start = from === 0 ? 'from its start' : `from entry ${from} of its journal`;
  if (!(await choice.confirm(`Start ${record.executionId} (${record.targetAgentType}) again ${start}?`)))
    return {replayed: false, replayOf: record.executionId, from};
  const sent = await replayExecution({store, now: systemClock}, {record, from, policy});
  printer.out(
    paint.green('started'),
    `  ${sent.executionId}, with ${sent.kept} ${sent.kept === 1 ? 'outcome' : 'outcomes'} of ${record.executionId}`,
  );
  printer.note(paint.dim(`watch it: by tail ${sent.sessionId}`));
  return {
    ...{replayed: true, replayOf: record.executionId, from, keptOutcomes: sent.kept},
    ...{status: sent.status, sessionId: sent.sessionId, messageId: sent.messageId},
    ...{executionId: sent.executionId, agentType: record.targetAgentType},
  };
}

/** Turns that were begun, by our count; null for an execution other SDKs ran. */
const attemptCount = ({extra}: ExecutionRecord): number | null =>
  extra['x_attempt'] === undefined ? null : integerOf(extra['x_attempt'], 0);

function factsOf(record: ExecutionRecord, nowMs: number): (Fact | undefined)[] {
  const optional = (name: string, value: string | undefined): Fact | undefined =>
    value === undefined || value === '' ? undefined : [name, value];
  const time = (name: string, ms: number): Fact | undefined =>
    ms === 0 ? undefined : [name, `${isoTime(ms)}  (${relativeTime(ms, nowMs)})`];
  const attempts = attemptCount(record);
  return [
    ['execution', record.executionId],
    ['message', record.messageId],
    ['session', record.sessionId],
    ['agent type', record.targetAgentType],
    ['status', statusText(record.status)],
    optional('called by', calledBy(record)),
    optional('worker', record.workerId),
    attempts === null ? undefined : ['attempts', attemptsText(attempts, record)],
    time('tried again', integerOf(record.extra['x_retry_at'], 0)),
    time('deadline', deadlineOf(record) ?? 0),
    time('created', record.createdAt),
    time('started', record.startedAt),
    time('ended', record.finishedAt),
    tookMs(record) === null ? undefined : ['took', tookText(record)],
    optional('route', [record.routePolicy, record.routeStatus].filter(Boolean).join(', ')),
    optional('error', errorText(record)),
    record.cancelRequested === true
      ? ['cancel', record.cancelReason ? `asked for: ${record.cancelReason}` : 'asked for']
      : undefined,
    optional('trace', record.traceId),
  ];
}

function attemptsText(attempts: number, record: ExecutionRecord): string {
  const {crashes, failures} = countedAttempts(record);
  const counted = [
    crashes === 0 ? '' : `${crashes} crashed`,
    failures === 0 ? '' : `${failures} failed and were tried again`,
  ].filter(part => part !== '');
  return counted.length === 0 ? String(attempts) : `${attempts}: ${counted.join(', ')}`;
}

function calledBy({sourceAgentType, parentMessageId}: ExecutionRecord): string {
  if (parentMessageId === '') return sourceAgentType === 'client' ? '' : sourceAgentType;
  return `${sourceAgentType || 'a hand-off'}, message ${parentMessageId}`;
}

function errorText(record: ExecutionRecord): string {
  const {errorCode, errorType, errorMessage, failedStage, availabilityError} = record;
  const name = [errorCode, errorType].filter(Boolean).join(' ');
  const message = errorMessage ?? availabilityError ?? '';
  const stage = failedStage ? ` (while in ${failedStage})` : '';
  return [name, message].filter(Boolean).join(': ') + (name + message === '' ? '' : stage);
}

function whereFacts({place, deadLetter, deadLetterReplayed}: Whereabouts): (Fact | undefined)[] {
  const replay = deadLetterReplayed ? 'replayed before' : `by deadletter replay ${deadLetter?.id ?? ''}`;
  return [
    ['its command', placeText(place)],
    deadLetter === undefined ? undefined : ['dead letter', `${deadLetter.id}  (${replay})`],
  ];
}

function placeText(place: EntryPlace): string {
  switch (place.kind) {
    case 'waiting':
      return `waits in its queue, entry ${place.entryId}`;
    case 'pending': {
      const times = place.deliveries === 1 ? 'once' : `${place.deliveries} times`;
      return `with ${place.consumer} for ${formatDuration(place.idleMs)}, given out ${times}, entry ${place.entryId}`;
    }
    case 'held_back':
      return 'held back until its agent type is online';
    case 'settled':
      return 'settled: nothing of it is left in a queue';
    case 'not_found':
      return 'not found among the first 1000 entries of its queue';
  }
}

/** @throws {ByError} USAGE without a session, NOT_FOUND. */
export async function treeForPeople(
  store: Store,
  printer: Printer,
  output: string,
  choice: SessionChoice & {readonly depth: number},
) {
  const sessionId = await requireSession(store, choice);
  const rows = executionTree(await requireExecutions(store, sessionId), choice.depth);
  if (output === 'name') for (const {record} of rows) printer.out(record.executionId);
  else {
    const ascii = printer.symbol('ok') === 'ok';
    printer.table(rows, [
      {
        header: 'AGENT TYPE',
        value: row => [stems(row.lasts, ascii), row.record.targetAgentType || '-', note(row)],
      },
      {header: 'STATUS', value: ({record}) => statusText(record.status)},
      {header: 'TOOK', value: ({record}) => tookText(record), align: 'right'},
      {header: 'EXECUTION', value: ({record}) => record.executionId},
      {header: 'MESSAGE', value: ({record}) => record.messageId},
      {header: 'ERROR', value: ({record}) => record.errorMessage ?? '', shrink: true},
    ]);
    printer.note(paint.dim(counts(rows)));
  }
  return {
    sessionId,
    nodes: rows.map(({record, depth, placement, parentExecutionId, hidden}) => ({
      executionId: record.executionId,
      parentExecutionId,
      depth,
      placement,
      hidden,
      messageId: record.messageId,
      parentMessageId: record.parentMessageId,
      agentType: record.targetAgentType,
      status: record.status,
      workerId: record.workerId,
      createdAt: record.createdAt,
      tookMs: tookMs(record),
      errorMessage: record.errorMessage ?? '',
      extra: opaque(record.extra),
    })),
  };
}

function note({placement, hidden}: TreeRow): Text {
  const parts = [
    placement === 'orphan' ? 'its caller is not in this session' : '',
    placement === 'cycle' ? 'calls itself in a ring' : '',
    hidden > 0 ? `${hidden} below not shown` : '',
  ].filter(part => part !== '');
  return parts.length === 0 ? '' : paint.yellow(`  (${parts.join(', ')})`);
}

function counts(rows: readonly TreeRow[]): string {
  const open = rows.filter(({record}) => statusKind(record.status) !== 'terminal').length;
  return `${rows.length} ${rows.length === 1 ? 'execution' : 'executions'}, ${open} not ended`;
}
