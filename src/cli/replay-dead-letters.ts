/** `by deadletter replay`. */
import {hostname, userInfo} from 'node:os';
import {applyEdits, type Change, type Edit} from '../availability/edit-command.js';
import {findPayloads} from '../availability/recover-payload.js';
import {replayMany} from '../availability/replay-many.js';
import {
  planReplay,
  type ReadyReplay,
  type ReplayedItem,
  type ReplayOptions,
  type ReplayPlan,
} from '../availability/replay.js';
import {sleep, systemClock} from '../clock.js';
import {ByError, messageOf, type ErrorCode} from '../errors.js';
import {isValidId, newReplayId} from '../ids.js';
import {parseUntrustedObject} from '../protocol/limits.js';
import {isTerminal} from '../protocol/states.js';
import type {StoredDeadLetter} from '../store/dead-letters.js';
import {findExecution} from '../store/executions.js';
import type {Store} from '../store/store.js';
import {selectLetters, type Selection} from './dead-letter-filter.js';
import {formatDuration} from './duration.js';
import {editInEditor} from './edit-in-editor.js';
import {opaque} from './json.js';
import {paint, type Printer} from './printer.js';

export interface ReplayRequest extends Selection {
  readonly ratePerSecond: number | undefined;
  readonly concurrency: number;
  readonly stopOnError: number | undefined;
  readonly options: Omit<ReplayOptions, 'actor' | 'edit' | 'writesLost' | 'signal'>;
  readonly edits: readonly Edit[];
  /** Open an editor with the command. */
  readonly isEdited: boolean;
  readonly editor: string | undefined;
  readonly canPrompt: boolean;
  /** Wait until the new executions end. */
  readonly wait: boolean;
  readonly dryRun: boolean;
  readonly signal: AbortSignal;
  confirm(question: string): Promise<boolean>;
}

export const actor = (): string => `${userInfo().username}@${hostname()}`;

/** How often unfinished executions are looked at with --wait, in milliseconds. */
const WAIT_POLL_MS = 250;
/** What a change may take of a line. */
const VALUE_LENGTH = 60;

/**
 * @throws {ByError} USAGE without a selection; what stands in the way if nothing can be replayed; CONFLICT if the person
 *   says no; PARTIAL if some failed; with `wait` TASK_FAILED, TASK_CANCELLED, INPUT_REQUIRED.
 */
export async function replayForPeople(store: Store, printer: Printer, request: ReplayRequest) {
  const {options: chosen, signal} = request;
  if (chosen.to !== undefined && !isValidId(chosen.to))
    throw new ByError('USAGE', `"${chosen.to}" can not be an agent type.`, {hint: 'Correct --to.'});
  const {entries, hasMore} = await selectLetters(store, request);
  const edit = await editOf(store, printer, entries, request);
  const options: ReplayOptions = {...chosen, ...edit, actor: actor(), signal};
  const plans = await planReplay(store, entries, options);
  const ready = plans.filter(plan => plan.kind !== 'skipped');
  const skipped = plans.filter(plan => plan.kind === 'skipped');
  showPlan(printer, ready, skipped, request);
  if (hasMore) printer.note(`More fit than the ${request.filter.limit} of --limit.`);
  const counts = {matched: plans.length, replayed: 0, failed: 0, skipped: skipped.length};
  if (request.dryRun) {
    printer.note('Nothing was written. Run without --dry-run to apply.');
    for (const plan of plans) printer.event({type: 'plan', ...planItem(plan)});
    printer.event({type: 'end', reason: 'completed', dryRun: true, counts});
    return {dryRun: true, counts, hasMore, items: plans.map(planItem)};
  }
  if (ready.length === 0) {
    throwIfSkipped(skipped, counts);
    printer.note('No dead letters fit.');
    printer.event({type: 'end', reason: 'completed', dryRun: false, counts});
    return {dryRun: false, counts, hasMore, items: []};
  }
  if (!(await request.confirm(`Replay ${ready.length}?`)))
    throw new ByError('CONFLICT', 'Nothing was replayed.', {hint: 'Answer yes, or give --yes.'});
  const replayId = newReplayId();
  let done = 0;
  const {items, stopped, outage} = await replayMany(store, systemClock, replayId, ready, options, {
    concurrency: request.concurrency,
    signal,
    ...(request.ratePerSecond === undefined ? {} : {ratePerSecond: request.ratePerSecond}),
    ...(request.stopOnError === undefined ? {} : {stopOnError: request.stopOnError}),
    onItem: item => showItem(printer, item, `${++done}/${ready.length}`),
  });
  const replayed = items.filter(({result}) => result === 'replayed');
  const failed = items.filter(({result}) => result === 'failed').length;
  const result = {
    replayId,
    dryRun: false,
    counts: {
      ...counts,
      replayed: replayed.length,
      failed,
      // Somebody else was faster: for us they are as those that were replayed before.
      skipped: skipped.length + items.length - replayed.length - failed,
    },
    /** Planned, and not begun. */
    left: ready.length - items.length,
    stopped: stopped ?? null,
    hasMore,
    items: [...items, ...skipped.map(planItem)],
  };
  showSummary(printer, result);
  printer.event({
    type: 'end',
    reason: outage?.code ?? stopped ?? 'completed',
    replayId,
    dryRun: false,
    counts: result.counts,
  });
  throwIfPartial(request, {items, left: result.left, outage, skipped: skipped.length}, result);
  if (!request.wait) return result;
  return {...result, executions: await waitFor(store, printer, replayed, signal, result)};
}

/** The change to every command: the editor's for one letter, that of --set and --unset for all. */
async function editOf(
  store: Store,
  printer: Printer,
  entries: readonly StoredDeadLetter[],
  request: ReplayRequest,
): Promise<Pick<ReplayOptions, 'edit' | 'writesLost'>> {
  const {edits, isEdited} = request;
  const set: ReplayOptions['edit'] = edits.length === 0 ? undefined : document => applyEdits(document, edits);
  if (!isEdited) return set === undefined ? {} : {edit: set};
  const [only] = entries;
  if (only === undefined || entries.length > 1) {
    throw new ByError('USAGE', `--edit is for one dead letter, and ${entries.length} fit.`, {
      hint: 'Name one id, or change all of them with --set path=value.',
    });
  }
  const payload = (await findPayloads(store, [only])).get(only.id);
  const isKnown = payload !== undefined && payload.kind !== 'lost';
  const before = isKnown
    ? JSON.stringify(set === undefined ? payload.document : set(payload.document), null, 2)
    : (only.letter?.xData ?? '') || TEMPLATE;
  const edited = await editUntilJson(printer, `${before}\n`, request);
  return {edit: () => edited, writesLost: true};
}

/** What is there to begin with where nothing was kept. */
const TEMPLATE = JSON.stringify(
  {
    action_type: 'ASK_AGENT',
    header: {message_id: '', session_id: '', trace_id: '', target_agent_type: '', user_code: ''},
    body: {content: ''},
  },
  null,
  2,
);

async function editUntilJson(
  printer: Printer,
  text: string,
  request: ReplayRequest,
): Promise<Readonly<Record<string, unknown>>> {
  const choice = {command: request.editor, isOutputTaken: printer.mode !== 'text'};
  for (let current = text; ;) {
    const shown = current;
    current = await editInEditor(shown, choice);
    try {
      return parseUntrustedObject(current);
    } catch (cause) {
      const problem = `What you wrote is no command: ${messageOf(cause)}`;
      printer.note(paint.yellow(printer.symbol('warning')), ' ', problem);
      // One who leaves it as it is has given up.
      const mayRetry = request.canPrompt && current !== shown;
      if (mayRetry && (await request.confirm('Edit it again?'))) continue;
      throw new ByError('INVALID_INPUT', problem, {hint: 'Nothing was replayed. Edit it again.', cause});
    }
  }
}

type Work = Exclude<ReplayPlan, {kind: 'skipped'}>;
type Skipped = Extract<ReplayPlan, {kind: 'skipped'}>;

function showPlan(
  printer: Printer,
  ready: readonly Work[],
  skipped: readonly Skipped[],
  {options, ratePerSecond}: ReplayRequest,
): void {
  const rate =
    ratePerSecond === undefined || ready.length < 2
      ? ''
      : `   about ${formatDuration(((ready.length - 1) * 1000) / ratePerSecond)} at this rate`;
  const policy = options.policy.toLowerCase().replaceAll('_', '-');
  printer.out(
    paint.bold('PLAN'),
    `  ${ready.length} to replay, ${skipped.length} skipped   policy ${policy}${rate}`,
  );
  printer.table(ready, [
    {header: 'ID', value: plan => plan.id},
    {header: 'TO', value: plan => (plan.kind === 'ready' ? routeText(plan) : plan.claim.targetAgentType)},
    {
      header: 'MESSAGE',
      value: plan => (plan.kind === 'ready' ? plan.command.header.messageId : plan.claim.messageId),
    },
    {header: 'RETRY', value: plan => (plan.kind === 'ready' ? `#${plan.count}` : '-')},
    {
      header: 'CONTENT',
      value: plan =>
        plan.kind === 'ready'
          ? JSON.stringify(plan.command.content).slice(0, VALUE_LENGTH)
          : `as ${plan.actor || 'somebody'} began it`,
      shrink: true,
    },
  ]);
  for (const plan of ready) {
    if (plan.kind !== 'ready') continue;
    for (const change of plan.changes) printer.out(`  ${plan.id}  ${changeText(printer, change)}`);
  }
  for (const {id, code, why} of skipped) printer.out(paint.dim(`skipped ${id}  ${code}  ${why}`));
}

function routeText({target, step}: ReadyReplay): string {
  switch (step.kind) {
    case 'deliver':
      return target;
    case 'deliver-to':
      return `${target} (fallback)`;
    case 'wake-and-wait':
      return `${target} (wakes it)`;
    case 'queue':
      return `${target} (held back)`;
  }
}

function changeText(printer: Printer, {path, before, after}: Change): string {
  const text = (value: unknown) =>
    value === undefined ? 'nothing' : JSON.stringify(value).slice(0, VALUE_LENGTH);
  return `${path}  ${text(before)} ${printer.symbol('arrow')} ${text(after)}`;
}

function planItem(plan: ReplayPlan) {
  switch (plan.kind) {
    case 'skipped':
      return {id: plan.id, result: 'skipped', code: plan.code, why: plan.why};
    case 'resume':
      return {
        ...{id: plan.id, result: 'planned', resumes: plan.actor, target: plan.claim.targetAgentType},
        ...{messageId: plan.claim.messageId, executionId: plan.claim.executionId},
      };
    case 'ready':
      return {
        id: plan.id,
        result: 'planned',
        target: plan.target,
        route: plan.step.kind,
        recovered: plan.isRecovered,
        messageId: plan.command.header.messageId,
        replayCount: plan.count,
        changes: plan.changes.map(({path, before, after}) => ({
          path,
          before: opaque(before ?? null),
          after: opaque(after ?? null),
        })),
      };
  }
}

function showItem(printer: Printer, item: ReplayedItem, progress: string): void {
  printer.event({type: 'item', ...item});
  const isDone = item.result === 'replayed';
  const sign = isDone ? paint.green(printer.symbol('ok')) : paint.yellow(printer.symbol('warning'));
  const what = isDone ? item.streamId || item.target : item.code || RESULTS[item.result];
  const rest = isDone ? item.executionId : item.why;
  printer.out(sign, ' ', paint.dim(progress), ` ${item.id} ${printer.symbol('arrow')} ${what}   ${rest}`);
}

const RESULTS: Readonly<Record<ReplayedItem['result'], string>> = {
  replayed: 'replayed',
  failed: 'failed',
  already: 'somebody else replayed it',
  claimed: 'somebody else is at it',
  missing: 'it is gone: replayed or dropped by somebody else',
};

interface Summary {
  readonly replayId: string;
  readonly counts: {readonly replayed: number; readonly failed: number; readonly skipped: number};
  readonly left: number;
}

function showSummary(printer: Printer, {replayId, counts, left}: Summary): void {
  const {replayed, failed, skipped} = counts;
  const rest = left > 0 ? `, ${left} not begun` : '';
  printer.note(`${replayed} replayed, ${failed} failed, ${skipped} skipped${rest}    audit: ${replayId}`);
}

const HINTS: Partial<Record<ErrorCode, string>> = {
  PAYLOAD_LOST: '`by deadletter show ID` prints what there is; --edit lets you write the command.',
  ALREADY_REPLAYED: '`by deadletter show ID` says by whom, and as which execution.',
  AGENT_TYPE_UNAVAILABLE: 'Start a worker, or say --policy send-anyway, queue-only or wake-and-wait.',
  AGENT_TYPE_EXHAUSTED: 'Wait until one recovers (`by agent list --workers`), or say --policy queue-only.',
  CONFLICT: 'Say --resume-claimed to carry on with it.',
  NOT_FOUND: 'See `by deadletter list`.',
};

/** Nothing can be done, and here is why: as the first of them says it. */
function throwIfSkipped([first]: readonly Skipped[], counts: object): void {
  if (first === undefined) return;
  throw new ByError(first.code, `Nothing was replayed: ${first.id}: ${first.why.replace(/\.$/, '')}.`, {
    hint: HINTS[first.code] ?? 'See `by deadletter list`.',
    details: {counts},
  });
}

interface Outcome {
  readonly items: readonly ReplayedItem[];
  readonly left: number;
  readonly outage: ByError | undefined;
  readonly skipped: number;
}

/** @throws {ByError} PARTIAL, or what Redis said. */
function throwIfPartial(
  request: ReplayRequest,
  {items, left, outage, skipped}: Outcome,
  result: object,
): void {
  if (outage !== undefined) {
    throw new ByError(outage.code, outage.message, {hint: outage.hint, cause: outage, details: {...result}});
  }
  // Whoever names ids wants those; a filter takes what there is.
  const unmet = items.filter(item => item.result !== 'replayed').length + left;
  const all = unmet + (request.ids.length > 0 ? skipped : 0);
  if (all === 0) return;
  throw new ByError('PARTIAL', `${all} of ${items.length + left + skipped} were not replayed.`, {
    hint: 'Each line above says why; run it again for what is left.',
    details: {...result},
  });
}

/** @returns the status each execution ended with. @throws {ByError} TASK_FAILED, TASK_CANCELLED or INPUT_REQUIRED. */
async function waitFor(
  store: Store,
  printer: Printer,
  replayed: readonly ReplayedItem[],
  signal: AbortSignal,
  result: object,
): Promise<ReadonlyMap<string, string>> {
  const ended = new Map<string, string>();
  while (!signal.aborted && ended.size < replayed.length) {
    const open = replayed.filter(({executionId}) => !ended.has(executionId));
    await Promise.all(
      open.map(async ({sessionId, executionId}) => {
        const status = (await findExecution(store, sessionId, executionId))?.status ?? 'GONE';
        if (!isTerminal(status) && status !== 'WAITING_USER' && status !== 'GONE') return;
        ended.set(executionId, status);
        printer.out(`  ${executionId}  ${status}`);
      }),
    );
    if (ended.size < replayed.length) await sleep(WAIT_POLL_MS, signal);
  }
  const count = (status: string) => [...ended.values()].filter(each => each === status).length;
  const ends = [
    ['FAILED', 'TASK_FAILED'],
    ['CANCELLED', 'TASK_CANCELLED'],
    ['WAITING_USER', 'INPUT_REQUIRED'],
  ] as const;
  for (const [status, code] of ends) {
    if (count(status) === 0) continue;
    throw new ByError(code, `${count(status)} of ${replayed.length} replayed executions ended ${status}.`, {
      hint: 'See `by exec show` of each; what failed is among the dead letters again.',
      details: {...result, executions: ended},
    });
  }
  return ended;
}
