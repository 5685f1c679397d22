/** Which dead letters are meant: the filters of `by deadletter list`, `replay` and `drop`. */
import {deadLetterCode, requireDeadLetter} from '../availability/replay.js';
import {findPayloads, type Payload} from '../availability/recover-payload.js';
import {ByError} from '../errors.js';
import {entryTimeMs} from '../protocol/deadletter.js';
import {objectOf, textOf} from '../protocol/fields.js';
import {listDeadLetters, oldestDeadLetters, type StoredDeadLetter} from '../store/dead-letters.js';
import {readMarker, replayMarkers} from '../store/replays.js';
import type {Store} from '../store/store.js';
import {parseTimePoint, type TimePoint} from './time.js';

export interface DeadLetterFilter {
  readonly agent?: string | undefined;
  readonly code?: string | undefined;
  /** A regular expression. */
  readonly reason?: string | undefined;
  readonly source?: string | undefined;
  readonly userCode?: string | undefined;
  readonly region?: string | undefined;
  readonly since?: string | undefined;
  readonly until?: string | undefined;
  readonly replayable?: string | undefined;
  /** `all` by default. */
  readonly replayed?: string | undefined;
  readonly limit: number;
}

/**
 * `yes`, `recovered` (the command was found elsewhere), `replayed` (and kept), `begun` (a replay that is not finished),
 * `no-payload`, `unreadable`.
 */
export type ReplayWord = 'yes' | 'recovered' | 'replayed' | 'begun' | 'no-payload' | 'unreadable';

export interface DeadLetterRow {
  readonly id: string;
  /** Unix milliseconds of the entry. */
  readonly at: number;
  readonly agentType: string;
  readonly code: string;
  readonly source: string;
  readonly attempts: number;
  readonly replay: ReplayWord;
  readonly reason: string;
  readonly executionId: string;
  readonly sessionId: string;
  readonly messageId: string;
  readonly userCode: string;
  readonly region: string;
  /** Unix milliseconds; 0 if unknown. */
  readonly firstAcceptedAt: number;
}

export interface FoundLetter {
  readonly entry: StoredDeadLetter;
  readonly row: DeadLetterRow;
  readonly payload: Payload;
}

export interface Found {
  readonly letters: readonly FoundLetter[];
  /** More than the limit fit. */
  readonly hasMore: boolean;
}

/** Dead letters read in one go while looking for those that fit a filter. */
const PAGE = 500;
/** Of a reason that somebody else wrote, a pattern of the operator's sees no more than this. */
const REASON_LENGTH = 4096;

/** @throws {ByError} INVALID_INPUT for a time or a pattern that is none. */
export async function findLetters(
  store: Store,
  filter: DeadLetterFilter,
  order: 'newest' | 'oldest',
): Promise<Found> {
  const range = rangeOf(filter);
  const fits = matcher(filter);
  const letters: FoundLetter[] = [];
  let last = '';
  for (;;) {
    const page =
      order === 'newest'
        ? await listDeadLetters(store, PAGE, last || '+')
        : await oldestDeadLetters(store, PAGE, last);
    const inside = page.filter(({id}) => range.has(id));
    for (const letter of await described(
      store,
      inside.filter(entry => fits.entry(entry)),
    )) {
      if (!fits.row(letter.row)) continue;
      if (letters.length >= filter.limit) return {letters, hasMore: true};
      letters.push(letter);
    }
    const end = page.at(-1);
    if (end === undefined || page.length < PAGE || range.isBehind(end.id, order))
      return {letters, hasMore: false};
    last = end.id;
  }
}

/** What people are told of these entries. */
export async function described(store: Store, entries: readonly StoredDeadLetter[]): Promise<FoundLetter[]> {
  if (entries.length === 0) return [];
  const [markers, payloads] = await Promise.all([
    replayMarkers(
      store,
      entries.map(({id}) => id),
    ),
    findPayloads(store, entries),
  ]);
  return entries.map(entry => {
    const payload = payloads.get(entry.id) ?? {kind: 'lost'};
    return {entry, payload, row: toRow(entry, payload, markers.get(entry.id))};
  });
}

function toRow({id, letter}: StoredDeadLetter, payload: Payload, marker: string | undefined): DeadLetterRow {
  const header = payload.kind === 'lost' ? {} : objectOf(payload.document['header']);
  return {
    id,
    at: entryTimeMs(id),
    agentType: letter?.targetAgentType ?? '',
    code: letter ? deadLetterCode(letter.source) : 'UNREADABLE',
    source: letter?.source ?? '',
    attempts: letter?.attempts.length ?? 0,
    replay: wordFor(id, letter !== undefined, payload, marker),
    reason: letter?.reason ?? '',
    executionId: letter?.executionId ?? '',
    sessionId: textOf(header['session_id']),
    messageId: textOf(header['message_id']),
    userCode: textOf(header['user_code']),
    region: letter?.region ?? '',
    firstAcceptedAt: letter?.firstAcceptedAt ?? 0,
  };
}

function wordFor(id: string, isReadable: boolean, payload: Payload, marker: string | undefined): ReplayWord {
  if (!isReadable) return 'unreadable';
  if (marker !== undefined) return readMarker(marker, id)?.kind === 'claimed' ? 'begun' : 'replayed';
  switch (payload.kind) {
    case 'kept':
      return 'yes';
    case 'recovered':
      return 'recovered';
    case 'lost':
      return 'no-payload';
  }
}

export const canBeReplayed = ({replay}: DeadLetterRow): boolean => replay === 'yes' || replay === 'recovered';

interface Matcher {
  /** What the letter itself tells: looked at first, because the rest costs a look into other streams. */
  entry(entry: StoredDeadLetter): boolean;
  row(row: DeadLetterRow): boolean;
}

function matcher(filter: DeadLetterFilter): Matcher {
  const {agent, code, source, region, userCode, replayable, replayed = 'all'} = filter;
  const reason = filter.reason === undefined ? undefined : patternOf(filter.reason);
  const same = (wanted: string | undefined, value: string) => wanted === undefined || wanted === value;
  return {
    entry: ({letter}) =>
      same(agent, letter?.targetAgentType ?? '') &&
      same(code, letter ? deadLetterCode(letter.source) : 'UNREADABLE') &&
      // Other SDKs know one way into the dead letters, and do not name it.
      same(source, letter?.source || 'wakeup') &&
      same(region, letter?.region ?? '') &&
      (reason === undefined || reason.test((letter?.reason ?? '').slice(0, REASON_LENGTH))),
    row: row =>
      same(userCode, row.userCode) &&
      (replayable === undefined || canBeReplayed(row) === (replayable === 'yes')) &&
      (replayed === 'all' || (row.replay === 'replayed') === (replayed === 'yes')),
  };
}

function patternOf(text: string): RegExp {
  try {
    return new RegExp(text, 'u');
  } catch (cause) {
    throw new ByError('INVALID_INPUT', `"${text}" is no regular expression.`, {
      hint: 'Write one as in JavaScript; put \\ before . ( ) [ ] to mean the character itself.',
      cause,
    });
  }
}

function rangeOf({since, until}: DeadLetterFilter) {
  const now = Date.now();
  const from = since === undefined ? undefined : parseTimePoint(since, now);
  const to = until === undefined ? undefined : parseTimePoint(until, now);
  const isBefore = (id: string) => from !== undefined && compare(id, from) < 0;
  const isAfter = (id: string) => to !== undefined && compare(id, to) > 0;
  return {
    has: (id: string) => !isBefore(id) && !isAfter(id),
    /** Nothing after this one in the order of reading can be inside. */
    isBehind: (id: string, order: 'newest' | 'oldest') => (order === 'newest' ? isBefore(id) : isAfter(id)),
  };
}

function compare(id: string, point: TimePoint): number {
  if (point.kind === 'time') return entryTimeMs(id) - point.ms;
  const [ms = '', count = ''] = point.id.split('-');
  return entryTimeMs(id) - Number(ms) || Number(id.split('-')[1]) - Number(count);
}

/** Which letters a command is about. */
export interface Selection {
  readonly ids: readonly string[];
  readonly all: boolean;
  readonly filter: DeadLetterFilter;
}

/**
 * The letters named, or those that fit, the oldest first: that is the order in which they were sent.
 * @throws {ByError} USAGE without a selection, or with ids and filters; NOT_FOUND, ALREADY_REPLAYED, INVALID_INPUT.
 */
export async function selectLetters(
  store: Store,
  {ids, all, filter}: Selection,
): Promise<{readonly entries: readonly StoredDeadLetter[]; readonly hasMore: boolean}> {
  const {agent, code, reason, source, region, since, until, replayable, userCode} = filter;
  const isNarrowed = [agent, code, reason, source, region, since, until, replayable].some(isGiven);
  if (ids.length > 0 && (all || isNarrowed)) {
    throw new ByError('USAGE', 'Ids were named, and filters too.', {hint: 'Name ids, or filter.'});
  }
  if (ids.length > 0) {
    const entries: StoredDeadLetter[] = [];
    for (const id of new Set(ids)) entries.push(await requireDeadLetter(store, id));
    return {entries, hasMore: false};
  }
  if (!all && !isNarrowed && userCode === undefined) {
    throw new ByError('USAGE', 'Which dead letters?', {
      hint: 'Name ids, filter (--agent, --code, --since and so on), or say --all.',
      next: ['by deadletter list'],
    });
  }
  const {letters, hasMore} = await findLetters(store, filter, 'oldest');
  return {entries: letters.map(({entry}) => entry), hasMore};
}

const isGiven = (value: string | undefined): boolean => value !== undefined;

/** Ids as arguments, or one on each line of standard input. */
export async function idsFrom(args: readonly string[], readStdin: () => Promise<string>): Promise<string[]> {
  if (!args.includes('-')) return [...args];
  const read = (await readStdin()).split(/\s+/).filter(id => id !== '');
  return [...args.filter(id => id !== '-'), ...read];
}
