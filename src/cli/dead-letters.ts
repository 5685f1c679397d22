/** `by deadletter list|show|replay`. */
import {hostname, userInfo} from 'node:os';
import {
  carryOutReplay,
  deadLetterCode,
  planReplay,
  requireDeadLetter,
  type ReplayedItem,
  type ReplayOptions,
  type ReplayPlan,
} from '../availability/replay.js';
import {sleep, systemClock} from '../clock.js';
import {ByError} from '../errors.js';
import {isValidId, newReplayId} from '../ids.js';
import {listDeadLetters, replayMarkers, type StoredDeadLetter} from '../store/dead-letters.js';
import {serverTimeMs, type Store} from '../store/store.js';
import {showFacts} from './facts.js';
import {opaque} from './json.js';
import {paint, type Printer} from './printer.js';
import {isoTime, parseTimePoint, relativeTime} from './time.js';

export interface DeadLetterFilter {
  readonly agent: string | undefined;
  readonly code: string | undefined;
  readonly since: string | undefined;
  readonly replayable: string | undefined;
  readonly limit: number;
}

export interface DeadLetterRow {
  readonly id: string;
  /** Unix milliseconds of the entry. */
  readonly at: number;
  readonly agentType: string;
  readonly code: string;
  readonly attempts: number;
  readonly replay: 'yes' | 'replayed' | 'no-payload' | 'unreadable';
  readonly reason: string;
  readonly executionId: string;
}

/** Dead letters read in one go while looking for those that fit a filter. */
const PAGE = 500;

async function find(
  store: Store,
  filter: DeadLetterFilter,
): Promise<{entry: StoredDeadLetter; row: DeadLetterRow}[]> {
  // By the clock that gave the entries their ids.
  const now = filter.since === undefined ? 0 : await serverTimeMs(store);
  const since = filter.since === undefined ? undefined : parseTimePoint(filter.since, now);
  const oldest = since === undefined ? 0 : since.kind === 'time' ? since.ms : entryMs(since.id);
  const found: {entry: StoredDeadLetter; row: DeadLetterRow}[] = [];
  let before = '+';
  for (;;) {
    const page = await listDeadLetters(store, PAGE, before);
    const markers = await replayMarkers(
      store,
      page.map(entry => entry.id),
    );
    for (const entry of page) {
      const row = toRow(entry, markers.has(entry.id));
      if (row.at < oldest) return found;
      if (matches(row, filter)) found.push({entry, row});
      if (found.length >= filter.limit) return found;
    }
    const last = page.at(-1);
    if (page.length < PAGE || !last) return found;
    before = last.id;
  }
}

function matches(row: DeadLetterRow, filter: DeadLetterFilter): boolean {
  if (filter.agent !== undefined && row.agentType !== filter.agent) return false;
  if (filter.code !== undefined && row.code !== filter.code) return false;
  return filter.replayable === undefined || (row.replay === 'yes') === (filter.replayable === 'yes');
}

function toRow({id, letter}: StoredDeadLetter, isReplayed: boolean): DeadLetterRow {
  return {
    id,
    at: entryMs(id),
    agentType: letter?.targetAgentType ?? '',
    code: letter ? deadLetterCode(letter.source) : 'UNREADABLE',
    attempts: letter?.attempts.length ?? 0,
    replay: !letter ? 'unreadable' : isReplayed ? 'replayed' : letter.replayable,
    reason: letter?.reason ?? '',
    executionId: letter?.executionId ?? '',
  };
}

const entryMs = (id: string): number => Number(id.split('-')[0]);

export async function listForPeople(
  store: Store,
  printer: Printer,
  output: string,
  filter: DeadLetterFilter,
): Promise<DeadLetterRow[]> {
  const rows = (await find(store, filter)).map(({row}) => row);
  if (output === 'name') {
    for (const row of rows) printer.out(row.id);
    return rows;
  }
  for (const row of rows) printer.event(row);
  const now = await serverTimeMs(store);
  printer.table(rows, [
    {header: 'ID', value: row => row.id},
    {header: 'AGE', value: row => relativeTime(row.at, now).replace(' ago', '')},
    {header: 'AGENT', value: row => row.agentType || '-'},
    {header: 'CODE', value: row => row.code},
    {header: 'ATT', value: row => String(row.attempts), align: 'right'},
    {header: 'REPLAY', value: row => row.replay},
    {header: 'REASON', value: row => row.reason, shrink: true},
  ]);
  const ready = rows.filter(row => row.replay === 'yes').length;
  if (rows.length === 0) printer.note('No dead letters.');
  else
    printer.note(
      paint.dim(`${rows.length} ${rows.length === 1 ? 'entry' : 'entries'}, ${ready} replayable`),
      ready > 0 ? '   next: by deadletter replay --all --dry-run' : '',
    );
  return rows;
}

export async function showForPeople(store: Store, printer: Printer, id: string): Promise<unknown> {
  const entry = await requireDeadLetter(store, id);
  const marker = (await replayMarkers(store, [id])).get(id);
  const row = toRow(entry, marker !== undefined);
  const {letter} = entry;
  showFacts(printer, [
    ['id', row.id],
    ['when', isoTime(row.at)],
    ['agent type', row.agentType || '-'],
    ['code', row.code],
    ['reason', row.reason],
    ['execution', row.executionId || '-'],
    ['replay', row.replay],
  ]);
  for (const attempt of letter?.attempts ?? []) {
    printer.out(paint.dim(`attempt  ${isoTime(attempt.at)}  ${attempt.workerId}  ${attempt.error}`));
  }
  if (letter && letter.replayable === 'yes') {
    printer.out(paint.bold('command'));
    printer.block(JSON.stringify(letter.commandPayload, null, 2));
  } else if (letter && letter.xData !== '') {
    printer.out(paint.bold('entry as it came'));
    printer.block(letter.xData);
  }
  return {
    ...row,
    attemptsList: letter?.attempts ?? [],
    command: opaque(letter?.commandPayload ?? null),
    raw: letter?.xData ?? '',
    source: letter?.source ?? '',
    entryStream: letter?.xStream ?? '',
    entryId: letter?.xEntryId ?? '',
  };
}

/** Ids as arguments, or one on each line of standard input. */
export async function idsFrom(args: readonly string[], readStdin: () => Promise<string>): Promise<string[]> {
  if (!args.includes('-')) return [...args];
  const read = (await readStdin()).split(/\s+/).filter(id => id !== '');
  return [...args.filter(id => id !== '-'), ...read];
}

export interface ReplayRequest {
  readonly ids: readonly string[];
  readonly filter: DeadLetterFilter;
  readonly all: boolean;
  readonly ratePerSecond: number | undefined;
  readonly options: Omit<ReplayOptions, 'actor'>;
  readonly dryRun: boolean;
  readonly signal: AbortSignal;
  confirm(question: string): Promise<boolean>;
}

/** @throws {ByError} USAGE without a selection, NOT_FOUND, ALREADY_REPLAYED for a single id, PARTIAL. */
export async function replayForPeople(
  store: Store,
  printer: Printer,
  request: ReplayRequest,
): Promise<unknown> {
  const options: ReplayOptions = {...request.options, actor: `${userInfo().username}@${hostname()}`};
  if (options.to !== undefined && !isValidId(options.to)) {
    throw new ByError('USAGE', `"${options.to}" can not be an agent type.`, {hint: 'Correct --to.'});
  }
  const entries = await selected(store, request);
  const plans = await planReplay(store, entries, options);
  const ready = plans.filter(plan => plan.kind === 'ready');
  const skipped = plans.filter(plan => plan.kind === 'skipped');
  showPlan(printer, ready, skipped);
  const counts = {matched: plans.length, replayed: 0, failed: 0, skipped: skipped.length};
  if (request.dryRun) {
    printer.note('Nothing was written. Run without --dry-run to apply.');
    return {dryRun: true, counts, items: plans.map(planItem)};
  }
  const [only] = skipped;
  if (ready.length === 0 && only) {
    const code = only.why.includes('replayed before') ? 'ALREADY_REPLAYED' : 'CONFLICT';
    throw new ByError(code, `Nothing was replayed: ${only.id}: ${only.why}.`, {
      hint: 'See `by deadletter list`.',
      details: {counts},
    });
  }
  if (ready.length > 0 && !(await request.confirm(`Replay ${ready.length}?`))) {
    throw new ByError('CONFLICT', 'Nothing was replayed.', {hint: 'Answer yes, or give --yes.'});
  }
  const replayId = newReplayId();
  const items: ReplayedItem[] = [];
  for (const [at, plan] of ready.entries()) {
    if (request.signal.aborted) break;
    if (at > 0 && request.ratePerSecond !== undefined)
      await sleep(1000 / request.ratePerSecond, request.signal);
    const item = await carryOutReplay(store, systemClock, replayId, plan, options);
    items.push(item);
    const sign =
      item.result === 'replayed'
        ? paint.green(printer.symbol('ok'))
        : paint.yellow(printer.symbol('warning'));
    printer.out(
      sign,
      ` ${item.id} ${printer.symbol('arrow')} ${item.streamId || item.result}   ${item.executionId}`,
    );
  }
  const replayed = items.filter(item => item.result === 'replayed').length;
  const result = {
    replayId,
    dryRun: false,
    counts: {...counts, replayed, failed: items.length - replayed},
    items,
  };
  printer.note(
    `${replayed} replayed, ${items.length - replayed} lost to another replay, ${skipped.length} skipped    audit: ${replayId}`,
  );
  if (replayed < items.length) {
    throw new ByError('PARTIAL', `${items.length - replayed} of ${items.length} were not replayed.`, {
      hint: 'Somebody else replayed them at the same time; see `by deadletter list`.',
      details: result,
    });
  }
  return result;
}

async function selected(store: Store, request: ReplayRequest): Promise<StoredDeadLetter[]> {
  if (request.ids.length > 0) {
    const entries: StoredDeadLetter[] = [];
    for (const id of request.ids) entries.push(await requireDeadLetter(store, id));
    return entries;
  }
  if (!request.all && request.filter.agent === undefined && request.filter.code === undefined) {
    throw new ByError('USAGE', 'Which dead letters?', {
      hint: 'Name ids, filter by --agent or --code, or say --all.',
      next: ['by deadletter list'],
    });
  }
  const entries = (await find(store, request.filter)).map(({entry}) => entry);
  // The oldest first: that is the order in which they were sent.
  return entries.reverse();
}

function showPlan(
  printer: Printer,
  ready: readonly Extract<ReplayPlan, {kind: 'ready'}>[],
  skipped: readonly Extract<ReplayPlan, {kind: 'skipped'}>[],
): void {
  printer.out(paint.bold('PLAN'), `  ${ready.length} to replay, ${skipped.length} skipped`);
  printer.table(ready, [
    {header: 'ID', value: plan => plan.id},
    {header: 'TO', value: plan => plan.target},
    {header: 'MESSAGE', value: plan => plan.command.header.messageId},
    {header: 'RETRY', value: plan => `#${plan.count}`},
    {header: 'CONTENT', value: plan => JSON.stringify(plan.command.content).slice(0, 60), shrink: true},
  ]);
  for (const plan of skipped) printer.out(paint.dim(`skipped ${plan.id}: ${plan.why}`));
}

function planItem(plan: ReplayPlan) {
  if (plan.kind === 'skipped') return {id: plan.id, result: 'skipped', why: plan.why};
  return {
    id: plan.id,
    result: 'planned',
    target: plan.target,
    messageId: plan.command.header.messageId,
    replayCount: plan.count,
  };
}
