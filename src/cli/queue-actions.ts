/** `by queue claim|ack`: moving pending entries by hand, and giving them up. */
import {hostname, userInfo} from 'node:os';
import {systemClock} from '../clock.js';
import {ByError} from '../errors.js';
import {handOverName} from '../protocol/consumers.js';
import {
  encodeDeadLetter,
  entryTimeMs,
  newDeadLetter,
  rawParts,
  wholeCommand,
} from '../protocol/deadletter.js';
import {firstAcceptedAt, pastAttempts, type ExecutionRecord} from '../protocol/execution.js';
import {settleMany, type ControlEntry} from '../store/control-streams.js';
import {moveToDeadLetters} from '../store/dead-letters.js';
import {findByMessage} from '../store/executions.js';
import {entriesById, giveEntries, pendingEntries} from '../store/queues.js';
import {serverTimeMs, type Store} from '../store/store.js';
import {isValidId} from '../ids.js';
import {checkedEntryId} from './ids.js';
import {paint, type Printer} from './printer.js';
import {
  consumersNamed,
  nothingFits,
  pendingRows,
  pendingView,
  printPending,
  requireQueue,
  withEntries,
  type PendingRow,
} from './queues.js';

/** Whatever is given to it is taken up by any worker that looks for what dead workers left. */
const ANY_WORKER = handOverName('by-queue');

export interface ClaimRequest {
  readonly ids: readonly string[];
  /** A consumer or worker whose entries are taken. */
  readonly consumer: string | undefined;
  /** A consumer or worker that gets them; undefined for any worker. */
  readonly to: string | undefined;
  readonly minIdleMs: number;
  readonly limit: number;
  readonly group: string;
  readonly dryRun: boolean;
  confirm(question: string): Promise<boolean>;
}

/** @throws {ByError} INVALID_INPUT, NOT_FOUND, USAGE for an ambiguous --to, CONFLICT if the person says no, PARTIAL. */
export async function claimForPeople(store: Store, printer: Printer, type: string, request: ClaimRequest) {
  const {group, minIdleMs} = request;
  const ids = request.ids.map(checkedEntryId);
  const agentType = await requireQueue(store, type, group);
  const stream = store.keys.ctrlStream(agentType);
  const to = request.to === undefined ? ANY_WORKER : await oneConsumer(store, stream, group, request.to);
  const rows =
    ids.length === 0
      ? await pendingRows(store, agentType, request)
      : await requirePending(store, agentType, group, ids);
  const wanted = rows.filter(row => row.consumer !== to && row.idleMs >= minIdleMs);
  printPending(printer, wanted, await serverTimeMs(store));
  const result = {agentType, to, dryRun: request.dryRun, entries: wanted.map(pendingView)};
  if (wanted.length === 0) {
    printer.note(await nothingFits(store, agentType, request));
    return {...result, claimed: []};
  }
  if (request.dryRun) {
    printer.note(
      `Nothing was claimed. Run without --dry-run to give these ${wanted.length} to ${toText(to)}.`,
    );
    return {...result, claimed: []};
  }
  const busy = wanted.filter(row => row.online).length;
  const question = `${busy} of them are with workers that are online and may be running them. Claim them?`;
  if (busy > 0 && !(await request.confirm(question))) throw refused('Nothing was claimed.');
  const claimed = await giveEntries(store, stream, group, {
    to,
    minIdleMs,
    ids: wanted.map(({entryId}) => entryId),
  });
  printer.out(paint.green(printer.symbol('ok')), ` ${claimed.length} given to ${toText(to)}`);
  if (to !== ANY_WORKER)
    printer.note(paint.dim('A worker looks at what it was given by hand when it starts, not while it runs.'));
  if (claimed.length < wanted.length) {
    throw new ByError('PARTIAL', `${wanted.length - claimed.length} of ${wanted.length} were not claimed.`, {
      hint: 'They were settled or given to somebody else meanwhile; see `by queue pending`.',
      details: {...result, claimed},
    });
  }
  return {...result, claimed};
}

const toText = (consumer: string): string => (consumer === ANY_WORKER ? 'any worker' : consumer);

async function oneConsumer(store: Store, stream: string, group: string, name: string): Promise<string> {
  const names = await consumersNamed(store, stream, group, name);
  const [only = '', ...others] = names;
  if (others.length === 0) return only;
  throw new ByError('USAGE', `"${name}" has ${names.length} lives in this queue.`, {
    hint: `Name one of them: ${names.join(', ')}.`,
  });
}

export interface AckRequest {
  readonly ids: readonly string[];
  readonly drop: boolean;
  readonly reason: string;
  readonly group: string;
  confirm(question: string): Promise<boolean>;
}

export interface AckedItem {
  readonly entryId: string;
  /** `settled`: somebody else was faster. */
  readonly result: 'dead_letter' | 'dropped' | 'settled';
  /** Id among the dead letters; '' if it is not there. */
  readonly deadLetterId: string;
  readonly executionId: string;
  /** The execution's status, which giving up its command does not change. */
  readonly status: string;
}

/** @throws {ByError} INVALID_INPUT, NOT_FOUND, CONFLICT for entries nobody was given, INPUT_NEEDED, PARTIAL. */
export async function ackForPeople(store: Store, printer: Printer, type: string, request: AckRequest) {
  const {group, drop} = request;
  const ids = request.ids.map(checkedEntryId);
  const agentType = await requireQueue(store, type, group);
  const rows = await requirePending(store, agentType, group, ids);
  printPending(printer, rows, await serverTimeMs(store));
  const question = drop
    ? `Drop ${counted(rows)} for good? Nothing is kept.`
    : `Give up ${counted(rows)}? The commands go to the dead letters.`;
  if (!(await request.confirm(question))) throw refused('Nothing was given up.');
  const items: AckedItem[] = [];
  for (const row of rows) {
    const item = await giveUp(store, agentType, row, request);
    items.push(item);
    const sign =
      item.result === 'settled' ? paint.yellow(printer.symbol('warning')) : paint.green(printer.symbol('ok'));
    printer.out(sign, ` ${item.entryId}  ${item.result.replace('_', ' ')} ${item.deadLetterId}`);
    const {header} = row.found?.command ?? {};
    if (item.executionId !== '' && header !== undefined && item.result !== 'settled')
      printer.note(
        paint.dim(
          `  ${item.executionId} stays ${item.status}; end it: by cancel ${header.sessionId} --message ${header.messageId}`,
        ),
      );
  }
  const late = items.filter(({result}) => result === 'settled').length;
  const result = {agentType, items};
  if (late > 0) {
    throw new ByError('PARTIAL', `${late} of ${items.length} were settled by somebody else first.`, {
      hint: 'There is nothing left to give up of those.',
      details: result,
    });
  }
  return result;
}

const counted = (rows: readonly unknown[]): string =>
  `${rows.length} ${rows.length === 1 ? 'entry' : 'entries'}`;

async function giveUp(
  store: Store,
  agentType: string,
  row: PendingRow,
  {group, drop, reason}: AckRequest,
): Promise<AckedItem> {
  const stream = store.keys.ctrlStream(agentType);
  const {entryId, found} = row;
  const header = found?.command?.header;
  const record =
    header !== undefined && isValidId(header.sessionId)
      ? await findByMessage(store, header.sessionId, header.messageId)
      : undefined;
  const item = {entryId, executionId: record?.executionId ?? '', status: record?.status ?? ''};
  // An entry that is not in the stream any more has no command to keep.
  if (drop || found === undefined) {
    const isTaken = (await pendingEntries(store, stream, group, {count: 1, entryId})).length === 0;
    await settleMany(store, group, stream, [entryId], true);
    return {...item, result: isTaken ? 'settled' : 'dropped', deadLetterId: ''};
  }
  const letter = deadLetterOf(agentType, found.entry, row, reason, record);
  const deadLetterId = await moveToDeadLetters(store, group, found.entry, letter);
  return {...item, result: deadLetterId === '' ? 'settled' : 'dead_letter', deadLetterId};
}

/** The whole command where it can be read, the bytes as they came where it can not. */
function deadLetterOf(
  agentType: string,
  entry: ControlEntry,
  {found, workerId, deliveries}: PendingRow,
  reason: string,
  record: ExecutionRecord | undefined,
): string {
  const now = systemClock();
  const givenAt = entryTimeMs(entry.id);
  const by = `given up by ${userInfo().username}@${hostname()}`;
  const why = reason === '' ? by : `${reason} (${by})`;
  const command = found?.command === undefined ? {} : wholeCommand(entry.data, found.command.header);
  const isCommand = Object.keys(command).length > 0;
  return encodeDeadLetter(
    newDeadLetter({
      source: 'manual',
      executionId: record?.executionId ?? '',
      targetAgentType: agentType,
      ...(isCommand ? {reason: why, commandPayload: command} : rawParts(entry.data, why)),
      deliveryStream: entry.stream,
      attempts: [
        ...(record === undefined ? [] : pastAttempts(record)),
        {workerId, error: `given out ${deliveries} times, not settled`, at: givenAt},
      ],
      firstFailedAt: now,
      firstAcceptedAt: firstAcceptedAt(record, givenAt),
      xStream: entry.stream,
      xEntryId: entry.id,
    }),
  );
}

/**
 * The named entries, which somebody was given and has not settled.
 * @throws {ByError} NOT_FOUND for what is not in the queue, CONFLICT for what waits there.
 */
async function requirePending(
  store: Store,
  agentType: string,
  group: string,
  ids: readonly string[],
): Promise<PendingRow[]> {
  const stream = store.keys.ctrlStream(agentType);
  const unique = [...new Set(ids)];
  const [held, entries] = await Promise.all([
    Promise.all(unique.map(entryId => pendingEntries(store, stream, group, {count: 1, entryId}))),
    entriesById(store, stream, unique),
  ]);
  for (const [at, id] of unique.entries()) {
    if (held[at]?.length === 1) continue;
    if (entries[at] === undefined) {
      throw new ByError('NOT_FOUND', `There is no entry "${id}" in the queue of "${agentType}".`, {
        hint: 'It was settled, or never was; see `by queue pending`.',
        next: [`by queue pending ${agentType}`],
      });
    }
    throw new ByError('CONFLICT', `Entry "${id}" waits: nobody was given it yet.`, {
      hint: 'Stop its execution with `by cancel SESSION --message ID`; `by queue peek` names both.',
      next: [`by queue peek ${agentType}`],
    });
  }
  return withEntries(store, agentType, held.flat());
}

const refused = (message: string) => new ByError('CONFLICT', message, {hint: 'Answer yes, or give --yes.'});
