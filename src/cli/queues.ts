/** `by queue list|show|peek|pending`: what is in the queues. Changing them is queue-actions.ts. */
import {ByError} from '../errors.js';
import {parseConsumerName} from '../protocol/consumers.js';
import {preserveBytes} from '../protocol/deadletter.js';
import {commandToWire, type Command} from '../protocol/commands.js';
import {
  allAgentTypes,
  entryMs,
  knownAgentTypes,
  listQueues,
  peekQueue,
  readQueueEntry,
  showQueue,
  type QueueEntry,
  type QueueSummary,
} from '../registry/queues.js';
import {compareIds} from '../store/data-streams.js';
import {onlineMembers} from '../store/presence.js';
import {entriesById, pendingEntries, type PendingFacts} from '../store/queues.js';
import {consumersOf} from '../store/recovery.js';
import {serverTimeMs, type Store} from '../store/store.js';
import {formatDuration} from './duration.js';
import {showFacts} from './facts.js';
import {checkedEntryId, checkedId} from './ids.js';
import {opaque} from './json.js';
import {paint, type Printer, type Text} from './printer.js';
import {suggest} from './suggest.js';
import {isoTime} from './time.js';

export async function listForPeople(
  store: Store,
  printer: Printer,
  output: string,
  request: {readonly group: string; readonly scan: boolean},
) {
  const types = await (request.scan ? allAgentTypes(store) : knownAgentTypes(store));
  const queues = await listQueues(store, types, request.group);
  if (output === 'name') {
    for (const {agentType} of queues) printer.out(agentType);
    return {queues};
  }
  printer.table(queues, [
    {header: 'AGENT TYPE', value: queue => queue.agentType},
    {header: 'DEPTH', value: queue => String(queue.depth), align: 'right'},
    {header: 'WAITING', value: queue => countText(queue.waiting), align: 'right'},
    {header: 'PENDING', value: queue => String(queue.pending), align: 'right'},
    {header: 'OLDEST', value: queue => ageText(queue.oldestPendingMs), align: 'right'},
    {header: 'HELD BACK', value: queue => String(queue.heldBack), align: 'right'},
    {header: 'CONSUMERS', value: queue => String(queue.consumers), align: 'right'},
    {header: 'WORKERS ONLINE', value: onlineText, align: 'right'},
  ]);
  if (queues.length === 0) printer.note('No agent type is known here. Start a worker: by worker run FILE');
  if (!request.scan)
    printer.note(paint.dim('agent types of known workers; --scan also finds queues nobody serves'));
  return {queues};
}

const countText = (count: number | null): string => (count === null ? '?' : String(count));
const ageText = (ms: number | null): string => (ms === null ? '-' : formatDuration(ms));

/** Work that nobody takes up is what an operator looks for. */
function onlineText({workersOnline, depth, heldBack}: QueueSummary): Text {
  const text = String(workersOnline);
  return workersOnline === 0 && depth + heldBack > 0 ? paint.red(text) : text;
}

/** @throws {ByError} INVALID_INPUT, NOT_FOUND. */
export async function showForPeople(store: Store, printer: Printer, type: string, group: string) {
  const agentType = checkedId(type, 'agent type');
  const queue = await showQueue(store, agentType, group);
  if (queue === undefined) throw await noSuchQueue(store, agentType);
  showFacts(printer, [
    ['agent type', queue.agentType],
    ['stream', queue.stream],
    ['depth', String(queue.depth)],
    ['waiting', queue.waiting === null ? 'the server can not tell' : String(queue.waiting)],
    ['pending', String(queue.pending)],
    ['oldest pending', queue.oldestPendingMs === null ? '-' : `${ageText(queue.oldestPendingMs)} old`],
    ...(queue.onCall === 0 ? [] : [['on call', String(queue.onCall)] as const]),
    ['held back', String(queue.heldBack)],
    ['workers online', onlineText(queue)],
  ]);
  if (queue.groups.length > 0) printer.out();
  printer.table(queue.groups, [
    {header: 'GROUP', value: row => (row.name === group ? row.name : paint.yellow(row.name))},
    {header: 'CONSUMERS', value: row => String(row.consumers), align: 'right'},
    {header: 'PENDING', value: row => String(row.pending), align: 'right'},
    {header: 'LAG', value: row => countText(row.lag), align: 'right'},
    {header: 'LAST DELIVERED', value: row => row.lastDeliveredId},
  ]);
  if (queue.consumerList.length > 0) printer.out();
  printer.table(queue.consumerList, [
    {header: 'CONSUMER', value: row => row.name},
    {header: 'WORKER', value: row => row.workerId},
    {header: 'ONLINE', value: row => (row.online ? paint.green('yes') : paint.dim('no'))},
    {header: 'PENDING', value: row => String(row.pending), align: 'right'},
    {header: 'IDLE', value: row => formatDuration(row.idleMs), align: 'right'},
  ]);
  if (queue.groups.length === 0 && queue.depth > 0)
    printer.note(paint.yellow('No worker has ever read this queue.'));
  if (queue.groups.length > 1)
    printer.warn('More than one consumer group reads this queue: every command runs once in each.');
  const {consumerList, consumers, ...rest} = queue;
  return {...rest, consumerCount: consumers, consumers: consumerList};
}

async function noSuchQueue(store: Store, agentType: string): Promise<ByError> {
  const near = suggest(agentType, await knownAgentTypes(store));
  return new ByError('NOT_FOUND', `Nothing is known of an agent type "${agentType}".`, {
    hint: near === null ? 'See what there is with `by queue list --scan`.' : `Did you mean "${near}"?`,
    next: ['by queue list --scan'],
  });
}

/** @throws {ByError} NOT_FOUND if nothing is known of the agent type. */
export async function requireQueue(store: Store, type: string, group: string): Promise<string> {
  const agentType = checkedId(type, 'agent type');
  if ((await showQueue(store, agentType, group)) === undefined) throw await noSuchQueue(store, agentType);
  return agentType;
}

export interface PeekRequest {
  readonly count: number;
  readonly from: string | undefined;
  readonly raw: boolean;
  readonly group: string;
}

/** @throws {ByError} INVALID_INPUT, NOT_FOUND. */
export async function peekForPeople(
  store: Store,
  printer: Printer,
  output: string,
  type: string,
  request: PeekRequest,
) {
  const agentType = await requireQueue(store, type, request.group);
  const stream = store.keys.ctrlStream(agentType);
  const from = request.from === undefined ? '-' : checkedEntryId(request.from);
  const entries = await peekQueue(store, agentType, request.count, from);
  const [holders, now] = await Promise.all([
    Promise.all(
      entries.map(async ({entry}) => {
        const [held] = await pendingEntries(store, stream, request.group, {count: 1, entryId: entry.id});
        return held?.consumer ?? '';
      }),
    ),
    serverTimeMs(store),
  ]);
  const rows = entries.map((entry, at) => ({...entry, consumer: holders[at] ?? ''}));
  if (request.raw) for (const {entry} of rows) printer.raw(`${(entry.data ?? '').toString()}\n`);
  else if (output === 'name') for (const {entry} of rows) printer.out(entry.id);
  else {
    printer.table(rows, [
      {header: 'ENTRY', value: ({entry}) => entry.id},
      {header: 'AGE', value: ({entry}) => formatDuration(now - entryMs(entry.id)), align: 'right'},
      {header: 'WITH', value: ({consumer}) => consumer || paint.dim('waits')},
      {header: 'COMMAND', value: entry => entry.command?.action ?? paint.red('unreadable')},
      {header: 'SESSION', value: ({command}) => command?.header.sessionId ?? '-'},
      {header: 'MESSAGE', value: ({command}) => command?.header.messageId ?? '-'},
      {header: 'CONTENT', value: previewOf, shrink: true},
    ]);
    if (rows.length === 0) printer.note('The queue is empty.');
  }
  return {
    agentType,
    entries: rows.map(row => ({
      ...entryView(row),
      consumer: row.consumer,
      ...(request.raw ? {raw: preserveBytes(row.entry.data ?? Buffer.alloc(0))} : {}),
    })),
  };
}

/** What an entry asks for, on one line. */
export function previewOf({command, unreadable}: QueueEntry): string {
  if (command === undefined) return unreadable ?? '';
  const content = 'content' in command ? command.content : '';
  return (typeof content === 'string' ? content : JSON.stringify(content)).slice(0, 200);
}

/** An entry as `--json` prints it. */
export function entryView({entry, command, unreadable}: QueueEntry) {
  return {
    entryId: entry.id,
    at: entryMs(entry.id),
    action: command?.action ?? '',
    sessionId: command?.header.sessionId ?? '',
    messageId: command?.header.messageId ?? '',
    command: command === undefined ? null : opaque(wireOf(command)),
    unreadable: unreadable ?? '',
    bytes: entry.data?.length ?? 0,
  };
}

const wireOf = (command: Command): object => commandToWire(command);

export interface PendingRequest {
  readonly minIdleMs: number;
  /** A consumer's name, or a worker id. */
  readonly consumer: string | undefined;
  readonly limit: number;
  readonly group: string;
}

export interface PendingRow extends PendingFacts {
  readonly workerId: string;
  /** Whether the worker that has it is online: then it may be running it. */
  readonly online: boolean;
  /** Undefined if the entry is not in the stream any more. */
  readonly found: QueueEntry | undefined;
}

/** @throws {ByError} INVALID_INPUT, NOT_FOUND. */
export async function pendingForPeople(
  store: Store,
  printer: Printer,
  output: string,
  type: string,
  request: PendingRequest,
) {
  const agentType = await requireQueue(store, type, request.group);
  const rows = await pendingRows(store, agentType, request);
  if (output === 'name') for (const row of rows) printer.out(row.entryId);
  else {
    printPending(printer, rows, await serverTimeMs(store));
    if (rows.length === 0) printer.note(await nothingFits(store, agentType, request));
    else if (rows.length === request.limit)
      printer.note(paint.dim(`the oldest ${rows.length}; more with --limit`));
  }
  return {agentType, entries: rows.map(pendingView)};
}

export function printPending(printer: Printer, rows: readonly PendingRow[], nowMs: number): void {
  printer.table(rows, [
    {header: 'ENTRY', value: row => row.entryId},
    {header: 'AGE', value: row => formatDuration(nowMs - entryMs(row.entryId)), align: 'right'},
    {header: 'WITH', value: row => row.consumer},
    {header: 'ONLINE', value: row => (row.online ? paint.green('yes') : paint.red('no'))},
    {header: 'IDLE', value: row => formatDuration(row.idleMs), align: 'right'},
    {header: 'GIVEN', value: row => String(row.deliveries), align: 'right'},
    {header: 'SESSION', value: ({found}) => found?.command?.header.sessionId ?? '-'},
    {header: 'MESSAGE', value: ({found}) => found?.command?.header.messageId ?? '-'},
    {
      header: 'CONTENT',
      value: ({found}) => (found === undefined ? paint.red('deleted from the stream') : previewOf(found)),
      shrink: true,
    },
  ]);
}

export function pendingView({found, ...row}: PendingRow) {
  return {
    ...row,
    at: isoTime(entryMs(row.entryId)),
    deleted: found === undefined,
    sessionId: found?.command?.header.sessionId ?? '',
    messageId: found?.command?.header.messageId ?? '',
  };
}

/** Why there is nothing: what was given out just now is most often with whoever runs it. */
export async function nothingFits(store: Store, agentType: string, request: PendingRequest): Promise<string> {
  const {minIdleMs, limit} = request;
  const younger = minIdleMs > 0 ? await pendingFacts(store, agentType, {...request, minIdleMs: 0}) : [];
  if (younger.length === 0) return 'Nothing is pending that fits.';
  const count = younger.length === limit ? `${limit} or more` : `${younger.length}`;
  return `Nothing is pending that fits: ${count} given out less than ${formatDuration(minIdleMs)} ago (--min-idle).`;
}

/** Pending entries, oldest first, with who has them and what they say. */
export async function pendingRows(
  store: Store,
  agentType: string,
  request: PendingRequest,
): Promise<PendingRow[]> {
  return withEntries(store, agentType, await pendingFacts(store, agentType, request));
}

async function pendingFacts(
  store: Store,
  agentType: string,
  {minIdleMs, consumer, limit, group}: PendingRequest,
): Promise<PendingFacts[]> {
  const stream = store.keys.ctrlStream(agentType);
  const names = consumer === undefined ? [undefined] : await consumersNamed(store, stream, group, consumer);
  const found = await Promise.all(
    names.map(name =>
      pendingEntries(store, stream, group, {
        minIdleMs,
        count: limit,
        ...(name === undefined ? {} : {consumer: name}),
      }),
    ),
  );
  return found
    .flat()
    .sort((a, b) => compareIds(a.entryId, b.entryId))
    .slice(0, limit);
}

export async function withEntries(
  store: Store,
  agentType: string,
  facts: readonly PendingFacts[],
): Promise<PendingRow[]> {
  const [entries, online] = await Promise.all([
    entriesById(
      store,
      store.keys.ctrlStream(agentType),
      facts.map(({entryId}) => entryId),
    ),
    onlineMembers(store, agentType),
  ]);
  return facts.map((fact, at) => {
    const {workerId} = parseConsumerName(fact.consumer);
    const entry = entries[at];
    return {
      ...fact,
      workerId,
      online: online.workerIds.includes(workerId),
      found: entry === undefined ? undefined : readQueueEntry(entry),
    };
  });
}

/**
 * The consumers a name means: that very one, or all lives of a worker id.
 * @throws {ByError} NOT_FOUND
 */
export async function consumersNamed(
  store: Store,
  stream: string,
  group: string,
  name: string,
): Promise<string[]> {
  const names = (await consumersOf(store, stream, group)).map(consumer => consumer.name);
  if (names.includes(name)) return [name];
  const lives = names.filter(each => parseConsumerName(each).workerId === name);
  if (lives.length > 0) return lives;
  const near = suggest(name, names);
  throw new ByError('NOT_FOUND', `No consumer or worker "${name}" reads this queue.`, {
    hint:
      near !== null
        ? `Did you mean "${near}"?`
        : names.length === 0
          ? 'Nobody has ever read it.'
          : `These do: ${names.slice(0, 5).join(', ')}${names.length > 5 ? ', …' : ''}.`,
  });
}
