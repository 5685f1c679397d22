/** `by deadletter list|show|audit`. */
import {countDeadLetters, findDeadLetter} from '../store/dead-letters.js';
import {auditOf, type AuditEntry} from '../store/replays.js';
import {requireDeadLetter} from '../availability/replay.js';
import {serverTimeMs, type Store} from '../store/store.js';
import {
  canBeReplayed,
  described,
  findLetters,
  type DeadLetterFilter,
  type DeadLetterRow,
} from './dead-letter-filter.js';
import {showFacts} from './facts.js';
import {opaque} from './json.js';
import {paint, type Printer} from './printer.js';
import {isoTime, relativeTime} from './time.js';

export const GROUPINGS = ['code', 'agent', 'reason'] as const;
export type Grouping = (typeof GROUPINGS)[number];

export interface ListRequest {
  readonly filter: DeadLetterFilter;
  readonly groupBy: Grouping | undefined;
  /** `table`, `json`, `jsonl` or `name`. */
  readonly output: string;
}

export async function listForPeople(store: Store, printer: Printer, {filter, groupBy, output}: ListRequest) {
  const limit = groupBy === undefined ? filter.limit : Infinity;
  const [{letters, hasMore}, total] = await Promise.all([
    findLetters(store, {...filter, limit}, 'newest'),
    countDeadLetters(store),
  ]);
  const rows = letters.map(({row}) => row);
  const most = store.limits.deadLetters;
  const isFull = most > 0 && total >= most;
  if (groupBy !== undefined) showGroups(printer, groupsOf(rows, groupBy), groupBy);
  else if (output === 'name') for (const row of rows) printer.out(row.id);
  else showRows(printer, rows, await serverTimeMs(store));
  if (isFull) {
    printer.warn(
      `There are ${total} dead letters, and ${most} are the most: what fails now stays pending until some are replayed or dropped.`,
    );
  }
  if (output !== 'name') noteRows(printer, rows, hasMore);
  const facts = {total, limit: most, isFull, hasMore};
  return groupBy === undefined
    ? {entries: rows, ...facts}
    : {groups: groupsOf(rows, groupBy).slice(0, filter.limit), ...facts};
}

/** @param now Unix milliseconds by the clock that gave the entries their ids. */
function showRows(printer: Printer, rows: readonly DeadLetterRow[], now: number): void {
  for (const row of rows) printer.event(row);
  printer.table(rows, [
    {header: 'ID', value: row => row.id},
    {header: 'AGE', value: row => relativeTime(row.at, now).replace(' ago', '')},
    {header: 'AGENT', value: row => row.agentType || '-'},
    {header: 'CODE', value: row => row.code},
    {header: 'ATT', value: row => String(row.attempts), align: 'right'},
    {header: 'REPLAY', value: row => row.replay},
    {header: 'REASON', value: row => row.reason, shrink: true},
  ]);
}

function noteRows(printer: Printer, rows: readonly DeadLetterRow[], hasMore: boolean): void {
  if (rows.length === 0) {
    printer.note('No dead letters.');
    return;
  }
  const ready = rows.filter(canBeReplayed).length;
  printer.note(
    paint.dim(
      `${rows.length} ${rows.length === 1 ? 'entry' : 'entries'}, ${ready} replayable${hasMore ? '; there are more (--limit)' : ''}`,
    ),
    ready > 0 ? '   next: by deadletter replay --all --dry-run' : '',
  );
}

export interface LetterGroup {
  readonly name: string;
  readonly count: number;
  readonly replayable: number;
  /** Unix milliseconds. */
  readonly oldest: number;
  readonly newest: number;
}

/** The largest first. */
function groupsOf(rows: readonly DeadLetterRow[], by: Grouping): LetterGroup[] {
  const groups = new Map<string, DeadLetterRow[]>();
  for (const row of rows) {
    const name = by === 'agent' ? row.agentType : by === 'code' ? row.code : row.reason;
    groups.set(name, [...(groups.get(name) ?? []), row]);
  }
  return [...groups]
    .map(([name, members]) => ({
      name,
      count: members.length,
      replayable: members.filter(canBeReplayed).length,
      oldest: members.reduce((oldest, {at}) => Math.min(oldest, at), Infinity),
      newest: members.reduce((newest, {at}) => Math.max(newest, at), 0),
    }))
    .sort((a, b) => b.count - a.count);
}

function showGroups(printer: Printer, groups: readonly LetterGroup[], by: Grouping): void {
  for (const group of groups) printer.event(group);
  const now = Date.now();
  const age = (ms: number) => relativeTime(ms, now).replace(' ago', '');
  printer.table(groups, [
    {header: by.toUpperCase(), value: group => group.name || '-', shrink: true},
    {header: 'COUNT', value: group => String(group.count), align: 'right'},
    {header: 'REPLAYABLE', value: group => String(group.replayable), align: 'right'},
    {header: 'OLDEST', value: group => age(group.oldest)},
    {header: 'NEWEST', value: group => age(group.newest)},
  ]);
}

/** @throws {ByError} NOT_FOUND if neither the letters nor the audit know it. */
export async function showForPeople(store: Store, printer: Printer, id: string): Promise<unknown> {
  const audit = /^\d{1,20}-\d{1,20}$/.test(id) ? await auditOf(store, id) : [];
  const found = audit.length > 0 ? await findDeadLetter(store, id) : await requireDeadLetter(store, id);
  if (found === undefined) {
    showFacts(printer, [
      ['id', id],
      ['now', audit[0]?.action === 'drop' ? 'dropped' : 'replayed, and gone from the dead letters'],
    ]);
    showAudit(printer, audit);
    return {id, replay: audit[0]?.action === 'drop' ? 'dropped' : 'replayed', audit};
  }
  const [told] = await described(store, [found]);
  if (told === undefined) throw new TypeError('a letter was not described');
  const {row, payload} = told;
  const {letter} = found;
  showFacts(printer, [
    ['id', row.id],
    ['when', isoTime(row.at)],
    row.firstAcceptedAt > 0 ? ['first accepted', isoTime(row.firstAcceptedAt)] : undefined,
    ['agent type', row.agentType || '-'],
    ['code', row.code],
    ['reason', row.reason],
    ['execution', row.executionId || '-'],
    row.sessionId === '' ? undefined : ['session', `${row.sessionId}  message ${row.messageId}`],
    row.userCode === '' ? undefined : ['user', row.userCode],
    letter === undefined || letter.xEntryId === ''
      ? undefined
      : ['entry', `${letter.xEntryId} of ${letter.xStream}`],
    ['replay', row.replay],
  ]);
  for (const {attempt = 0, workerId, ended = '', error, at} of letter?.attempts ?? []) {
    const which = attempt > 0 ? `attempt ${attempt}` : 'attempt';
    printer.out(
      paint.dim(`${which}  ${isoTime(at)}  ${workerId}  ${ended === '' ? '' : `${ended}: `}${error}`),
    );
  }
  showAudit(printer, audit);
  if (payload.kind !== 'lost') {
    printer.out(
      paint.bold(payload.kind === 'kept' ? 'command' : 'command (recovered: the letter itself has none)'),
    );
    printer.block(JSON.stringify(payload.document, null, 2));
  } else if (letter && letter.xData !== '') {
    printer.out(paint.bold('entry as it came'));
    printer.block(letter.xData);
  } else {
    printer.note(
      paint.dim('PAYLOAD_LOST: written without its command, which is not in the wakeup stream any more.'),
    );
  }
  return {
    ...row,
    attemptsList: letter?.attempts ?? [],
    audit,
    command: opaque(payload.kind === 'lost' ? {} : payload.document),
    raw: letter?.xData ?? '',
    source: letter?.source ?? '',
    entryStream: letter?.xStream ?? '',
    entryId: letter?.xEntryId ?? '',
  };
}

function showAudit(printer: Printer, audit: readonly AuditEntry[]): void {
  for (const entry of audit) {
    const what =
      entry.action === 'drop'
        ? 'dropped'
        : `replayed as ${entry.executionId} to ${entry.target}${entry.changed.length === 0 ? '' : `, changed: ${entry.changed.join(', ')}`}`;
    const why = entry.reason === '' ? '' : `  "${entry.reason}"`;
    printer.out(`${isoTime(entry.at)}  ${what}  by ${entry.actor}${why}  (${entry.replayId})`);
  }
}

/** Who replayed and dropped what, newest first. */
export async function auditForPeople(store: Store, printer: Printer, limit: number) {
  const entries = await auditOf(store, undefined, limit);
  for (const entry of entries) printer.event(entry);
  const now = Date.now();
  printer.table(entries, [
    {header: 'AGE', value: entry => relativeTime(entry.at, now).replace(' ago', '')},
    {header: 'WHAT', value: entry => entry.action},
    {header: 'LETTER', value: entry => entry.entry},
    {header: 'EXECUTION', value: entry => entry.executionId || '-'},
    {header: 'WHO', value: entry => entry.actor},
    {header: 'REASON', value: entry => entry.reason || '-', shrink: true},
  ]);
  if (entries.length === 0) printer.note('Nothing was replayed or dropped.');
  return {entries};
}
