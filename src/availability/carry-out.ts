/**
 * One wakeup, from the question to the decision. Whatever the provider does (hang, throw, lie, answer nonsense), it ends,
 * and READY is only said when a worker is online: callers of other SDKs look once and then give up (spec §7.5).
 */
import {sleep} from '../clock.js';
import type {WakeupDecision, WakeupRequest} from '../protocol/wakeup.js';
import {holdWakeup} from '../store/control-plane.js';
import {routableMembers} from '../store/routable.js';
import type {Store} from '../store/store.js';
import type {ProviderDecision} from './provider.js';
import type {ProviderRunner} from './provider-runner.js';

export interface CarryOut {
  readonly store: Store;
  readonly provider: Pick<ProviderRunner, 'wakeup'>;
  readonly request: WakeupRequest;
  /** Milliseconds somebody waits for the decision. Those who join later may wait longer: they are asked for. */
  readonly remainingMs: number;
  /** The manager stops: no decision, the wakeup is left to another. */
  readonly signal: AbortSignal;
  /** Told what only means "keep waiting". */
  readonly onProgress: (decision: WakeupDecision) => Promise<unknown>;
}

/** How often it is looked whether a worker came by itself, and whether one is there that was announced. */
const POLL_MS = 250;
const POLL_ANNOUNCED_MS = 50;
/** The decision is given so long before the last waiter gives up, or a tenth of its time: it has to reach it. */
const MARGIN_MS = 500;
/** No provider gets longer, whatever the callers would wait: wakeups that hang would keep everybody else out. */
const MAX_WAKEUP_MS = 600_000;

/** @returns undefined if the manager stops before it is decided. */
export async function carryOut(work: CarryOut): Promise<WakeupDecision | undefined> {
  const {store, request, signal} = work;
  const first = await routableMembers(store, request.targetAgentType);
  if (first.online) return ready(request, first.workerIds, 'already online');
  if (work.remainingMs <= 0) return failed(request, 'nobody waits for it any more');
  const over = new AbortController();
  const end = () => over.abort();
  signal.addEventListener('abort', end, {once: true});
  try {
    return await watch(work, ask(work, over.signal));
  } finally {
    // Whatever the provider still does is for nobody.
    end();
    signal.removeEventListener('abort', end);
  }
}

interface Asked {
  answer: ProviderDecision | undefined;
  readonly arrived: Promise<void>;
}

function ask({store, provider, request}: CarryOut, signal: AbortSignal): Asked {
  const members = () => routableMembers(store, request.targetAgentType);
  const isOnline = async () => (await members()).online;
  const onlineWorkers = async () => (await members()).workerIds;
  const asked: Asked = {
    answer: undefined,
    arrived: provider.wakeup(request, {signal, isOnline, onlineWorkers}).then(answer => {
      asked.answer = answer;
    }),
  };
  return asked;
}

async function watch(work: CarryOut, asked: Asked): Promise<WakeupDecision | undefined> {
  const {store, request, signal} = work;
  const latest = performance.now() + MAX_WAKEUP_MS;
  const marginMs = Math.min(MARGIN_MS, work.remainingMs / 10);
  let endsAt = Math.min(latest, performance.now() + work.remainingMs - marginMs);
  let isAnnounced = false;
  while (!signal.aborted) {
    const {answer} = asked;
    const {online, workerIds} = await routableMembers(store, request.targetAgentType);
    if (online) return ready(request, workerIds, readyReason(answer));
    const end = answer && (await endOf(store, request, answer));
    if (end !== undefined) return end;
    if (answer !== undefined && !isAnnounced) {
      isAnnounced = true;
      await work.onProgress(progress(request, answer));
    }
    if (performance.now() >= endsAt) {
      const moreMs = await holdWakeup(store, request);
      if (moreMs <= marginMs + POLL_ANNOUNCED_MS || performance.now() >= latest)
        return failed(request, timeoutReason(answer));
      endsAt = Math.min(latest, performance.now() + moreMs - marginMs);
    }
    const pauseMs = Math.max(
      1,
      Math.min(isAnnounced ? POLL_ANNOUNCED_MS : POLL_MS, endsAt - performance.now()),
    );
    await (answer === undefined
      ? Promise.race([sleep(pauseMs, signal), asked.arrived])
      : sleep(pauseMs, signal));
  }
  return undefined;
}

/** @returns the decision that an answer is by itself; undefined if somebody has yet to come online. */
async function endOf(
  store: Store,
  request: WakeupRequest,
  answer: ProviderDecision,
): Promise<WakeupDecision | undefined> {
  switch (answer.status) {
    case 'READY':
    case 'STARTING':
    case 'QUEUED':
      return undefined;
    case 'REJECTED':
    case 'FAILED':
      return {
        ...decision(request, answer.status, answer.reason),
        retryAfterMs: answer.retryAfterMs ?? null,
      };
    case 'FALLBACK':
      // Callers of other SDKs do not look whether it is online: a command would lie there unseen.
      if (!(await routableMembers(store, answer.agentType)).online) return undefined;
      return {...decision(request, 'FALLBACK', ''), selectedAgentType: answer.agentType};
  }
}

function progress(request: WakeupRequest, answer: ProviderDecision): WakeupDecision {
  switch (answer.status) {
    case 'READY':
      return decision(request, 'STARTING', 'the provider said READY, but no worker is online yet');
    case 'FALLBACK':
      return decision(request, 'STARTING', `the fallback "${answer.agentType}" is not online yet`);
    default:
      return decision(request, answer.status, answer.reason ?? '');
  }
}

function timeoutReason(answer: ProviderDecision | undefined): string {
  if (answer === undefined) return 'the provider did not answer in time';
  if (answer.status === 'FALLBACK')
    return `no worker of the fallback "${answer.agentType}" came online in time`;
  return `the provider said ${answer.status}, but no worker came online in time`;
}

const readyReason = (answer: ProviderDecision | undefined): string =>
  answer?.status === 'READY' ? (answer.reason ?? '') : 'a worker came online';

function ready(request: WakeupRequest, workerIds: readonly string[], reason: string): WakeupDecision {
  return {...decision(request, 'READY', reason), workerIds: [...workerIds]};
}

const failed = (request: WakeupRequest, reason: string) => decision(request, 'FAILED', reason);

function decision(
  {executionId, targetAgentType, region}: WakeupRequest,
  status: ProviderDecision['status'],
  reason: string,
): WakeupDecision {
  return {
    ...{executionId, targetAgentType, status, selectedAgentType: '', workerIds: []},
    ...{region, retryAfterMs: null, reason},
  };
}
