/** `by worker suspend|resume|evict|rejoin`. */
import {sleep, systemClock} from '../clock.js';
import {ByError, messageOf} from '../errors.js';
import {
  evictWorker,
  hasEnded,
  isSettled,
  rejoinWorker,
  resumeWorker,
  sdkOf,
  suspendWorker,
  type AdminOutcome,
  type WorkerAction,
} from '../store/worker-admin.js';
import type {Store} from '../store/store.js';
import {checkedId} from './ids.js';
import {requireKnownWorker} from './known-worker.js';
import {paint, type Printer} from './printer.js';
import {actor} from './replay-dead-letters.js';
import {isoTime} from './time.js';

export interface AdminRequest {
  readonly action: WorkerAction;
  readonly workerIds: readonly string[];
  readonly reason: string;
  /** Of an eviction: running work is not waited for. */
  readonly force: boolean;
  /** Until each worker has done it. */
  readonly wait: boolean;
  readonly dryRun: boolean;
  readonly signal: AbortSignal;
  readonly confirm: (question: string) => Promise<boolean>;
}

export interface AdminItem {
  readonly workerId: string;
  /** False if it was so already. */
  readonly changed: boolean;
  readonly before: string;
  readonly lifecycle: string;
  readonly online: boolean;
  /** Whose worker it is: `by`, `other`, or `none` while it is offline. */
  readonly sdk: string;
  /** Whether the worker has done it; null if nobody waited, or it was told nothing. */
  readonly done: boolean | null;
}

const POLL_MS = 100;

const ACTS = {suspend: suspendWorker, resume: resumeWorker, evict: evictWorker, rejoin: rejoinWorker};

/**
 * Decide the same about several workers.
 * @throws {ByError} INVALID_INPUT, INPUT_NEEDED, NOT_FOUND, CONFLICT, REDIS_AUTH; PARTIAL if only some could be done.
 */
export async function administer(store: Store, printer: Printer, request: AdminRequest) {
  const {action, reason, dryRun} = request;
  const ids = [...new Set(request.workerIds.map(id => checkedId(id, 'worker id')))];
  await askFirst(request, ids);
  const items: AdminItem[] = [];
  const failed: {workerId: string; code: string; message: string; error: ByError}[] = [];
  for (const workerId of ids) {
    try {
      await requireKnownWorker(store, workerId);
      items.push(await decide(store, printer, workerId, request));
    } catch (error) {
      if (!(error instanceof ByError) || error.exitCode === 3) throw error;
      const {code} = error;
      failed.push({workerId, code, message: messageOf(error), error});
      if (ids.length > 1)
        printer.err(paint.red(printer.symbol('error')), ` ${workerId}: ${messageOf(error)}`);
    }
  }
  const [first] = failed;
  if (first !== undefined && ids.length === 1) throw first.error;
  const result = {
    ...{action, workers: items, reason, dryRun, actor: actor(), at: isoTime(systemClock())},
    failed: failed.map(({error: _error, ...facts}) => facts),
  };
  if (failed.length > 0) {
    throw new ByError('PARTIAL', `${failed.length} of ${ids.length} could not be done.`, {
      hint: 'See what each worker is: by worker list',
      details: result,
    });
  }
  return result;
}

async function askFirst({action, force, dryRun, confirm}: AdminRequest, ids: readonly string[]) {
  if (action !== 'evict' || dryRun) return;
  const who = ids.length === 1 ? `"${ids[0] ?? ''}"` : `${ids.length} workers`;
  const how = force ? 'abort what it runs and end' : 'finish what it runs and end';
  const question = `Evict ${who}? It will ${how}, and not start again until it is let in.`;
  if (!(await confirm(question)))
    throw new ByError('CONFLICT', 'Nobody was evicted.', {hint: 'Answer yes, or give --yes.'});
}

async function decide(
  store: Store,
  printer: Printer,
  workerId: string,
  request: AdminRequest,
): Promise<AdminItem> {
  const {action, reason, force, wait, dryRun, signal} = request;
  const sdk = await sdkOf(store, workerId);
  if (dryRun) {
    printer.note(`Nothing was changed. Without --dry-run: ${action} "${workerId}".`);
    const online = sdk !== 'none';
    return {workerId, changed: false, before: '', lifecycle: '', online, sdk, done: null};
  }
  const outcome = await ACTS[action](store, workerId, {reason, force});
  tell(printer, request, outcome, sdk);
  const waits = wait && outcome.entryId !== '';
  const done = waits ? await isDone(store, action, outcome, signal) : null;
  if (done === false) printer.warn(`"${workerId}" went away: it finds that when it starts.`);
  if (done === true) printer.out(paint.green(printer.symbol('ok')), ` ${workerId} ${DONE[action]}`);
  const {changed, before, lifecycle, online} = outcome;
  return {workerId, changed, before, lifecycle, online, sdk, done};
}

const SAID: Readonly<Record<WorkerAction, string>> = {
  suspend: 'is to take nothing new',
  resume: 'may take work again',
  evict: 'is to end',
  rejoin: 'may start again',
};

const DONE: Readonly<Record<WorkerAction, string>> = {
  suspend: 'takes nothing new',
  resume: 'takes work',
  evict: 'has ended',
  rejoin: 'may start',
};

function tell(printer: Printer, request: AdminRequest, outcome: AdminOutcome, sdk: string): void {
  const {action, force, reason} = request;
  const {workerId, changed, online, before} = outcome;
  if (!changed) {
    printer.note(`"${workerId}" was not ${action === 'rejoin' ? 'evicted' : 'suspended'}.`);
    return;
  }
  const why = reason === '' ? '' : `  "${reason}"`;
  printer.out(paint.green(printer.symbol('ok')), ` ${workerId} ${SAID[action]}${why}`);
  if (action === 'rejoin') {
    if (online) printer.note(`It still ends; start it again afterwards.`);
    return;
  }
  if (!online) printer.note(`"${workerId}" is offline: it finds that when it starts.`);
  if (sdk !== 'other') return;
  if (force)
    printer.warn(
      `"${workerId}" is a worker of another SDK, which may finish what it runs in spite of --force.`,
    );
  if (action === 'resume' && before === 'suspended')
    printer.note(`"${workerId}" is a worker of another SDK, which may see it only some seconds later.`);
}

/** @returns false if the worker went away meanwhile, null if nobody waits any more. */
async function isDone(
  store: Store,
  action: WorkerAction,
  {workerId, entryId, token}: AdminOutcome,
  signal: AbortSignal,
): Promise<boolean | null> {
  const stream = store.keys.workerCtrlStream(workerId);
  while (!signal.aborted) {
    if (await hasEnded(store, workerId, token)) return action === 'evict';
    if (action !== 'evict' && (await isSettled(store, stream, entryId))) return true;
    await sleep(POLL_MS, signal);
  }
  return null;
}
