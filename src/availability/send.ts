/** Sending: a command is routed by its policy and accepted in one step, or refused with a reason. */
import {awaitWakeup} from './await-wakeup.js';
import {letThrough} from './circuit-probe.js';
import {decideRoute, exhaustedReason, unreadableRecords, type AdmissionRecord} from './decide-route.js';
import {sleep, type Clock} from '../clock.js';
import {ByError} from '../errors.js';
import {isValidId, newExecutionId, newHexUuid, newMessageId, newSessionId, spanIdHex} from '../ids.js';
import {encodeSendable, hasContent, type AskCommand, type Content} from '../protocol/commands.js';
import {deliveryMetadata, encodePendingDelivery, type DeliveryTimes} from '../protocol/delivery.js';
import {
  encodeRecord,
  newExecutionRecord,
  type ExecutionRecord,
  type NewRecord,
} from '../protocol/execution.js';
import {deadlineOf, MAX_DEADLINE_MS} from '../protocol/deadline.js';
import {createHeader} from '../protocol/header.js';
import {calledExtra} from '../protocol/reply.js';
import {
  DEFAULT_ROUTE_POLICY,
  readFallback,
  ROUTE_POLICIES,
  type AvailabilityError,
  type AvailabilityStatus,
  type RoutePolicy,
} from '../protocol/routing.js';
import type {SpanParent, Tracer} from '../protocol/tracer.js';
import {encodeWakeupRequest, type WakeupDecision, type WakeupRequest} from '../protocol/wakeup.js';
import type {AdmissionFacts} from '../store/control-plane.js';
import {noteDeadline} from '../store/deadlines.js';
import {findByMessage} from '../store/executions.js';
import {acceptCommand, type Acceptance, type CallerFence} from '../store/acceptance.js';
import {routableMembers, type Exhausted} from '../store/routable.js';
import {serverNowMs, type Store} from '../store/store.js';
import {isOnCall, isReserved, onCallStreamFor} from './on-call.js';
import {inActiveTrace, traceDispatch} from './trace-dispatch.js';

export interface SendRequest {
  /** Who gets the command. With `workerId` it is still the agent type the worker will act as. */
  readonly agentType: string;
  /** Text, or an array of objects (a BaiYing message). Never empty. */
  readonly content: Content;
  /** Default: a new session. */
  readonly sessionId?: string;
  /** Give your own to make the send idempotent: the same id in a session is accepted once. Default: a new one. */
  readonly messageId?: string;
  readonly traceId?: string;
  /** The message this one belongs to; if that was cancelled, nothing is sent. */
  readonly parentMessageId?: string;
  /**
   * On whose behalf. A session belongs to the user it is first used for; without one the sender is an operator, who may
   * use any.
   */
  readonly userCode?: string;
  readonly userName?: string;
  /** `trace_parent_span_id` and `langfuse_parent_observation_id` go to the header: spec §8.1. */
  readonly metadata?: Readonly<Record<string, unknown>>;
  /** `wait_for_reply` goes to the command itself: spec §8.1. */
  readonly extraPayload?: Readonly<Record<string, unknown>>;
  /** What to do when nobody is online. Default FAIL_FAST. */
  readonly policy?: RoutePolicy;
  /** Milliseconds WAKE_AND_WAIT waits. Default 30,000. */
  readonly availabilityTimeoutMs?: number;
  readonly region?: string;
  /**
   * Milliseconds, from 1 to seven days, after which nobody wants the answer: what has not begun by then is not begun,
   * what runs is asked to stop, and it ends FAILED with DEADLINE_EXCEEDED. It also bounds `availabilityTimeoutMs`. Default
   * none.
   */
  readonly deadlineMs?: number;
  /**
   * Higher goes first among pending deliveries; from 1 on it is on-call work, as with `slot_type: on_call` in the metadata:
   * workers that keep themselves free for such work take it before any other. Default 0.
   */
  readonly priority?: number;
  /** Send to this worker alone. */
  readonly workerId?: string;
  readonly signal?: AbortSignal;
  /** Told what happens on the way, for people who watch. */
  readonly onProgress?: (progress: SendProgress) => void;
}

export type SendProgress =
  | {readonly kind: 'offline'; readonly agentType: string}
  /** Somebody should look at it: it is ignored, or taken for a refusal, as the store was told. */
  | {readonly kind: 'unreadable-record'; readonly record: AdmissionRecord; readonly of: string}
  /** Every worker that is online is exhausted: it is sent all the same, or waits for the first to recover. */
  | {
      readonly kind: 'exhausted';
      readonly agentType: string;
      readonly waits: boolean;
      readonly exhausted: Exhausted;
    }
  | {readonly kind: 'wakeup-requested'; readonly executionId: string}
  | {readonly kind: 'wakeup-decision'; readonly decision: WakeupDecision; readonly elapsedMs: number};

/** What an accepted send is. A refused one is a ByError, whose details carry the same ids. */
export interface SendResult {
  readonly status: AvailabilityStatus | 'DIRECT_WORKER';
  readonly policy: RoutePolicy;
  readonly targetAgentType: string;
  /** Differs from the target when a fallback took the command. */
  readonly selectedAgentType: string;
  readonly sessionId: string;
  readonly messageId: string;
  readonly executionId: string;
  readonly traceId: string;
  /** Entry id on the stream the command was put on. '' for a duplicate. */
  readonly streamId: string;
  readonly streamName: string;
  /** When it must have ended, in Unix milliseconds by Redis's clock; absent without a deadline. */
  readonly deadline?: number;
  /** This message id had been accepted before: nothing was sent, and this is the execution it got then. */
  readonly duplicate: boolean;
  /** It was sent though every worker that is online is exhausted: nobody of ours begins it before the first recovers. */
  readonly exhausted?: Exhausted;
  readonly wakeup?: {
    readonly decision: string;
    readonly elapsedMs: number;
    readonly workerIds: readonly string[];
  };
}

/** May look at and change a request before it is routed; called in order. */
export interface Interceptor {
  beforeSend(request: SendRequest): SendRequest | Promise<SendRequest>;
}

export interface Router {
  readonly store: Store;
  readonly now: Clock;
  /** Told of what is sent; undefined: nobody is. */
  readonly tracer?: Tracer | undefined;
  /** Told how long each command took to be routed; undefined: nobody is. */
  readonly metrics?: RoutingMetrics | undefined;
}

export interface RoutingMetrics {
  /** @param status how it was routed, or the code of the refusal. @param ms milliseconds. */
  routed(agentType: string, policy: string, status: string, ms: number): void;
}

export interface Sender extends Router {
  readonly interceptors: readonly Interceptor[];
}

/** What the route of a command depends on beside the command. */
export type RouteOptions = Pick<
  SendRequest,
  'availabilityTimeoutMs' | 'region' | 'deadlineMs' | 'priority' | 'signal' | 'onProgress'
>;

/** A command ready to be routed: a client's request with everything filled in, or an agent's call. */
export interface Draft {
  readonly request: RouteOptions;
  readonly policy: RoutePolicy;
  readonly command: AskCommand;
  readonly executionId: string;
  /** The message id was made for this draft, so nobody can know it yet. */
  readonly freshMessage: boolean;
  /** Whether it counts against the limit of its user, as far as is known. */
  readonly counts: boolean;
  /** Unix milliseconds by Redis's clock. */
  readonly deadline?: number;
  /** The turn that calls, its agent type, and the depth of the call; absent when a client sends. */
  readonly caller?: CallerFence & {
    readonly agentType: string;
    readonly depth: number;
    /** The span of the execution that calls, where one is told. */
    readonly span?: SpanParent;
  };
  /** The trace id was made for this draft. */
  readonly isNewTrace?: boolean;
}

/**
 * Send one command.
 * @throws {ByError} AGENT_TYPE_UNAVAILABLE (with `waitedMs` in its details if the time of WAKE_AND_WAIT passed), AGENT_TYPE_EXHAUSTED,
 *   AGENT_CIRCUIT_OPEN, TENANT_QUOTA_EXCEEDED, WORKER_NOT_ONLINE, WORKER_EXHAUSTED, WORKER_RESERVED when it
 *   was refused (a FAILED record says so in the session), NOT_FOUND for a session of another user, PARENT_CANCELLED, INVALID_INPUT, MESSAGE_TOO_LARGE, and what Redis answers.
 */
export async function send(sender: Sender, original: SendRequest): Promise<SendResult> {
  let request = original;
  for (const interceptor of sender.interceptors) request = await interceptor.beforeSend(request);
  request = inActiveTrace(sender.tracer, request);
  const composed = compose(request, sender.now);
  const draft =
    request.deadlineMs === undefined
      ? composed
      : await withDeadline(sender.store, composed, request.deadlineMs);
  const {workerId} = request;
  return traceDispatch(sender, draft, traced =>
    workerId === undefined ? routeDraft(sender, traced) : sendToWorker(sender, traced, workerId),
  );
}

/** Noted before it is accepted, so that nothing accepted can be forgotten. */
async function withDeadline(store: Store, draft: Draft, deadlineMs: number): Promise<Draft> {
  const {sessionId} = draft.command.header;
  const deadline = await noteDeadline(store, {sessionId, executionId: draft.executionId}, deadlineMs);
  return {...draft, deadline};
}

/**
 * Refuse what can not be routed, before anything is asked or written.
 * @throws {ByError} INVALID_INPUT
 */
export function checkRoutable(request: {
  readonly agentType: string;
  readonly messageId: string;
  readonly content: Content;
  readonly region?: string;
  readonly deadlineMs?: number;
  readonly policy: RoutePolicy;
}): void {
  const {deadlineMs, policy} = request;
  checkId('agent type', request.agentType);
  checkId('message id', request.messageId);
  if (request.region) checkId('region', request.region);
  if (!hasContent(request.content)) {
    throw new ByError('INVALID_INPUT', 'The content is empty.', {
      hint: 'Send some text, or a non-empty array of objects.',
    });
  }
  if (
    deadlineMs !== undefined &&
    !(Number.isSafeInteger(deadlineMs) && deadlineMs >= 1 && deadlineMs <= MAX_DEADLINE_MS)
  ) {
    throw new ByError('INVALID_INPUT', `${deadlineMs} can not be a deadline.`, {
      hint: 'Give at least 1 ms and at most 7 days; the library counts in whole milliseconds.',
    });
  }
  // Callers in plain JavaScript may write any text; nothing may be asked or written before it is known (A2).
  if (!ROUTE_POLICIES.includes(policy)) {
    throw new ByError('INVALID_INPUT', `"${policy}" is no route policy.`, {
      hint: `Use one of ${ROUTE_POLICIES.join(', ')}.`,
    });
  }
}

function compose(request: SendRequest, now: Clock): Draft {
  const {agentType, content} = request;
  const sessionId = request.sessionId ?? newSessionId();
  const messageId = request.messageId ?? newMessageId();
  const traceId = request.traceId ?? newHexUuid();
  const policy = request.policy ?? DEFAULT_ROUTE_POLICY;
  checkRoutable({...request, messageId, policy});
  checkId('session id', sessionId);
  checkId('trace id', traceId);
  if (request.userCode) checkId('user code', request.userCode);
  if (request.workerId !== undefined) checkId('worker id', request.workerId);
  const executionId = newExecutionId();
  const {
    trace_parent_span_id: span = spanIdHex(`${messageId}:client.dispatch`),
    langfuse_parent_observation_id: observation = span,
    ...metadata
  } = request.metadata ?? {};
  const {wait_for_reply: waitForReply, ...extraPayload} = request.extraPayload ?? {};
  const command: AskCommand = {
    action: 'ASK_AGENT',
    header: createHeader({
      messageId,
      sessionId,
      traceId,
      targetAgentType: agentType,
      parentMessageId: request.parentMessageId ?? '',
      userCode: request.userCode ?? '',
      userName: request.userName ?? '',
      metadata: {...metadata, by_execution_id: executionId, by_sent_at: now()},
      traceParentSpanId: String(span),
      langfuseParentObservationId: String(observation),
    }),
    content,
    waitForReply: waitForReply === true,
    extraPayload,
  };
  return {
    request,
    policy,
    command,
    executionId,
    freshMessage: request.messageId === undefined,
    isNewTrace: request.traceId === undefined,
    counts: true,
  };
}

function checkId(what: string, id: string): void {
  if (isValidId(id)) return;
  throw new ByError('INVALID_INPUT', `"${id.slice(0, 80)}" can not be a ${what}.`, {
    hint: `Use letters, digits and . _ : @ - (at most 128, beginning with a letter or digit).`,
  });
}

type RecordFields = Pick<NewRecord, 'streamName' | 'refusal'> & {
  readonly status: string;
  readonly selectedAgentType?: string;
};

function acceptance(draft: Draft, now: number, over: Partial<Acceptance>, fields: RecordFields): Acceptance {
  const {header} = draft.command;
  const record = newExecutionRecord({
    executionId: draft.executionId,
    messageId: header.messageId,
    sessionId: header.sessionId,
    traceId: header.traceId,
    parentMessageId: header.parentMessageId,
    sourceAgentType: draft.caller === undefined ? 'client' : header.sourceAgentType,
    targetAgentType: header.targetAgentType,
    streamName: fields.streamName,
    now,
    route: {
      policy: draft.policy,
      status: fields.status,
      ...(fields.selectedAgentType === undefined ? {} : {selectedAgentType: fields.selectedAgentType}),
      ...(fields.refusal ? {errorCode: fields.refusal.errorCode, error: fields.refusal.errorMessage} : {}),
    },
    ...(fields.refusal ? {refusal: fields.refusal} : {}),
    extra: {
      ...(draft.deadline === undefined ? {} : {x_deadline: draft.deadline}),
      ...(draft.caller === undefined || fields.refusal
        ? {}
        : calledExtra(header, draft.caller.executionId, draft.caller.depth)),
    },
  });
  return {
    sessionId: header.sessionId,
    executionId: draft.executionId,
    messageId: header.messageId,
    record: encodeRecord(record),
    agentType: header.targetAgentType,
    userCode: header.userCode,
    parentMessageId: header.parentMessageId,
    check: {kind: 'none'},
    gate: false,
    counts: draft.counts,
    fresh: draft.freshMessage,
    writes: [],
    ...(draft.caller === undefined ? {} : {caller: draft.caller}),
    ...over,
  };
}

type Routed = Exclude<Awaited<ReturnType<typeof acceptCommand>>, {kind: 'over'}>;

/** Wherever it would have gone: a user beyond its limit is refused. */
async function acceptRouted(sender: Router, draft: Draft, wanted: Acceptance): Promise<Routed> {
  const outcome = await acceptCommand(sender.store, wanted, draft.request.signal);
  if (outcome.kind !== 'over') return outcome;
  return refuse(sender, draft, 'TENANT_QUOTA_EXCEEDED', outcome.reason, outcome.retryAfterMs);
}

/**
 * Route a command to its agent type by its policy, and accept it there.
 * @throws {ByError} as {@link send}; for a caller that lost its execution FENCED.
 */
export function route(sender: Router, draft: Draft): Promise<SendResult> {
  return traceDispatch(sender, draft, traced => routeDraft(sender, traced));
}

async function routeDraft(sender: Router, composed: Draft): Promise<SendResult> {
  const {store} = sender;
  let draft = composed;
  const agentType = draft.command.header.targetAgentType;
  const stream = await streamFor(store, draft, agentType);
  const document = encodeSendable(draft.command);
  const check = draft.policy === 'SEND_ANYWAY' ? ({kind: 'none'} as const) : ({kind: 'type'} as const);
  const deliver = (gate: boolean, status: AvailabilityStatus) =>
    acceptRouted(
      sender,
      draft,
      acceptance(
        draft,
        sender.now(),
        {check, gate, writes: [{stream, document}]},
        {streamName: stream, status},
      ),
    );

  const outcome = await deliver(true, 'DELIVER_NOW');
  if (outcome.kind === 'accepted') return accepted(draft, 'DELIVER_NOW', stream, outcome.entryIds[0]);
  if (outcome.kind === 'duplicate') return duplicate(draft, outcome.executionId, outcome.record);
  tellUnreadable(draft, outcome);
  draft = {...draft, counts: draft.counts && outcome.isLimited};

  let facts = await letThrough(
    store,
    agentType,
    {...outcome, fallbackOnline: await isStandInOnline(store, outcome)},
    draft.policy,
  );
  for (;;) {
    const step = decideRoute(facts, draft.policy, store.unreadableRecords);
    switch (step.kind) {
      case 'deliver': {
        const again = await deliver(false, 'DELIVER_NOW');
        if (again.kind === 'accepted')
          return {
            ...accepted(draft, 'DELIVER_NOW', stream, again.entryIds[0]),
            ...toldExhausted(draft, facts.exhausted),
          };
        if (again.kind === 'duplicate') return duplicate(draft, again.executionId, again.record);
        // Who was there has left meanwhile, or can do nothing any more: the policy says what then.
        facts = {...facts, online: false, exhausted: again.exhausted};
        continue;
      }
      case 'deliver-to': {
        const sent = await deliverToFallback(sender, draft, step.agentType);
        if (sent !== undefined) return sent;
        facts = {...facts, fallbackOnline: false};
        continue;
      }
      case 'queue':
        return queue(sender, draft, document, step.wake, facts.exhausted ?? null);
      case 'wake-and-wait':
        draft.request.onProgress?.({kind: 'offline', agentType});
        return wakeAndDeliver(sender, draft, document, {stream, deliver}, facts.exhausted);
      case 'wait-for-recovery':
        return deliverAfterRecovery(sender, draft, step.exhausted, {stream, deliver});
      case 'reject':
        return refuse(sender, draft, step.code, step.reason, step.retryAfterMs, countsOf(facts.exhausted));
    }
  }
}

/** Most is not on call, and need not ask. */
const streamFor = (store: Store, draft: Draft, agentType: string): string | Promise<string> =>
  isUrgent(draft) ? onCallStreamFor(store, agentType) : store.keys.ctrlStream(agentType);

const isUrgent = ({command, request}: Draft): boolean =>
  isOnCall({metadata: command.header.metadata, priority: request.priority});

/** For programs: whoever is refused learns who is there. */
const countsOf = (exhausted: Exhausted | null | undefined) =>
  exhausted ? {exhausted: exhausted.workers, offline: exhausted.offline} : {};

/** A command goes out although nobody can begin it now. */
function toldExhausted(
  {request, command}: Draft,
  exhausted: Exhausted | null | undefined,
): Pick<SendResult, 'exhausted'> {
  if (!exhausted) return {};
  const agentType = command.header.targetAgentType;
  request.onProgress?.({kind: 'exhausted', agentType, waits: false, exhausted});
  return {exhausted};
}

/** How often somebody who waits for a recovery looks whether it came early, or somebody new. */
const RECOVERY_POLL_MS = 1000;

/** Nobody new can be woken: wait for the first worker to recover, if that is within the caller's time. */
async function deliverAfterRecovery(
  sender: Router,
  draft: Draft,
  first: Exhausted,
  {stream, deliver}: Delivering,
): Promise<SendResult> {
  const {request} = draft;
  const agentType = draft.command.header.targetAgentType;
  const endsAt = performance.now() + waitMsOf(request);
  request.onProgress?.({kind: 'exhausted', agentType, waits: true, exhausted: first});
  for (let exhausted: Exhausted | null = first; ;) {
    const leftMs = endsAt - performance.now();
    if (leftMs <= 0 || (exhausted !== null && exhausted.recoverMs > leftMs))
      return refuseExhausted(sender, draft, exhausted ?? first);
    await sleep(Math.min(RECOVERY_POLL_MS, exhausted?.recoverMs ?? RECOVERY_POLL_MS, leftMs), request.signal);
    request.signal?.throwIfAborted();
    const outcome = await deliver(false, 'WAIT_AND_DELIVER');
    if (outcome.kind === 'accepted') return accepted(draft, 'WAIT_AND_DELIVER', stream, outcome.entryIds[0]);
    if (outcome.kind === 'duplicate') return duplicate(draft, outcome.executionId, outcome.record);
    // Null: they have left, and may come back within the time.
    exhausted = outcome.exhausted;
  }
}

const refuseExhausted = (sender: Router, draft: Draft, exhausted: Exhausted): Promise<never> =>
  refuse(
    ...([sender, draft, 'AGENT_TYPE_EXHAUSTED', exhaustedReason(exhausted), exhausted.recoverMs] as const),
    countsOf(exhausted),
  );

/** What the script could not tell from the record, with its small means, is looked at here. */
async function isStandInOnline(store: Store, facts: AdmissionFacts): Promise<boolean> {
  if (facts.online) return false;
  const agentType = readFallback(facts.fallback);
  if (!isValidId(agentType)) return false;
  if (agentType === facts.standIn) return facts.standInOnline;
  return (await routableMembers(store, agentType)).online;
}

function tellUnreadable({request, command}: Draft, facts: AdmissionFacts): void {
  const {targetAgentType, userCode} = command.header;
  for (const record of unreadableRecords(facts)) {
    const of = record === 'quota' ? userCode : targetAgentType;
    request.onProgress?.({kind: 'unreadable-record', record, of});
  }
}

interface Delivering {
  /** Where it goes. */
  readonly stream: string;
  readonly deliver: (gate: boolean, status: AvailabilityStatus) => Promise<Routed>;
}

async function wakeAndDeliver(
  sender: Router,
  draft: Draft,
  document: string,
  {stream, deliver}: Delivering,
  exhausted: Exhausted | null | undefined,
): Promise<SendResult> {
  const {request} = draft;
  const agentType = draft.command.header.targetAgentType;
  const wakeup = wakeupRequest(draft, document);
  const startedAt = performance.now();
  const elapsed = () => Math.round(performance.now() - startedAt);
  const onDecision = (decision: WakeupDecision) =>
    request.onProgress?.({kind: 'wakeup-decision', decision, elapsedMs: elapsed()});
  let target = agentType;
  let after = '0-0';
  for (;;) {
    request.onProgress?.({kind: 'wakeup-requested', executionId: draft.executionId});
    const outcome = await awaitWakeup(
      sender.store,
      {...wakeup, targetAgentType: target, timeoutMs: Math.max(0, wakeup.timeoutMs - elapsed())},
      {...(request.signal ? {signal: request.signal} : {}), onDecision, after},
    );
    after = outcome.lastId;
    switch (outcome.kind) {
      case 'online': {
        const facts = {decision: outcome.decision, elapsedMs: elapsed(), workerIds: outcome.workerIds};
        if (target !== agentType) {
          const sent = await deliverToFallback(sender, draft, target);
          if (sent !== undefined) return {...sent, wakeup: facts};
          continue;
        }
        const delivered = await deliver(false, 'WAIT_AND_DELIVER');
        if (delivered.kind === 'duplicate') return duplicate(draft, delivered.executionId, delivered.record);
        // The worker that came has left again: somebody else may come while the caller still has time.
        if (delivered.kind === 'undecided') continue;
        return {...accepted(draft, 'WAIT_AND_DELIVER', stream, delivered.entryIds[0]), wakeup: facts};
      }
      case 'fallback':
        // It takes the command once it is online. One that is not is waited for like the target itself, and only one: a
        // stand-in of a stand-in may be the target again.
        if (!isValidId(outcome.agentType) || target !== agentType)
          return refuse(sender, draft, 'AGENT_TYPE_UNAVAILABLE', 'fallback to no valid agent type');
        target = outcome.agentType;
        {
          const sent = await deliverToFallback(sender, draft, target);
          if (sent !== undefined) return sent;
        }
        continue;
      case 'rejected':
        if (exhausted) return refuseExhausted(sender, draft, exhausted);
        return refuse(sender, draft, 'AGENT_TYPE_UNAVAILABLE', outcome.reason, outcome.retryAfterMs);
      case 'timeout': {
        if (exhausted) return refuseExhausted(sender, draft, exhausted);
        const which = target === agentType ? '' : ` of the fallback "${target}"`;
        const why = outcome.claimedReady ? `the provider said READY, but no worker` : `no worker`;
        const heard = outcome.lastReason === '' ? '' : ` (last heard: ${outcome.lastReason})`;
        return refuse(
          sender,
          draft,
          'AGENT_TYPE_UNAVAILABLE',
          `${why}${which} came online within ${wakeup.timeoutMs} ms${heard}`,
          null,
          {waitedMs: wakeup.timeoutMs},
        );
      }
    }
  }
}

/** How long a caller waits for somebody who takes its command, in milliseconds. */
const waitMsOf = ({availabilityTimeoutMs = 30_000, deadlineMs = Infinity}: RouteOptions): number =>
  Math.min(availabilityTimeoutMs, deadlineMs);

function wakeupRequest(draft: Draft, document: string): WakeupRequest {
  const {header} = draft.command;
  return {
    executionId: draft.executionId,
    targetAgentType: header.targetAgentType,
    sessionId: header.sessionId,
    traceId: header.traceId,
    messageId: header.messageId,
    source: draft.caller?.agentType ?? 'client',
    policy: draft.policy,
    timeoutMs: waitMsOf(draft.request),
    userCode: header.userCode,
    region: draft.request.region ?? '',
    priority: draft.request.priority ?? 0,
    metadata: {},
    commandPayload: JSON.parse(document) as Record<string, unknown>,
  };
}

async function queue(
  sender: Router,
  draft: Draft,
  document: string,
  wake: boolean,
  exhausted: Exhausted | null,
): Promise<SendResult> {
  const {store} = sender;
  const {header} = draft.command;
  const stream = store.keys.deliveryPending();
  const pending = encodePendingDelivery({
    executionId: draft.executionId,
    messageId: header.messageId,
    sessionId: header.sessionId,
    traceId: header.traceId,
    targetAgentType: header.targetAgentType,
    deliveryStream: store.keys.ctrlStream(header.targetAgentType),
    commandPayload: JSON.parse(document) as Record<string, unknown>,
    userCode: header.userCode,
    region: draft.request.region ?? '',
    priority: draft.request.priority ?? 0,
    metadata: deliveryMetadata(await timesFor(sender, draft, wake, exhausted)),
  });
  const wakeWrites = wake
    ? [{stream: store.keys.wakeup(), document: encodeWakeupRequest(wakeupRequest(draft, document))}]
    : [];
  const outcome = await acceptRouted(
    sender,
    draft,
    acceptance(
      draft,
      sender.now(),
      {writes: [{stream, document: pending}, ...wakeWrites]},
      {streamName: stream, status: 'QUEUE_PENDING'},
    ),
  );
  if (outcome.kind === 'accepted') return accepted(draft, 'QUEUE_PENDING', stream, outcome.entryIds[0]);
  if (outcome.kind === 'duplicate') return duplicate(draft, outcome.executionId, outcome.record);
  throw new TypeError('an unchecked acceptance was not decided');
}

/** Nobody is woken while those who are there only have to recover: then, if they are not there any more. */
async function timesFor(
  {store}: Router,
  {policy, request}: Draft,
  wake: boolean,
  exhausted: Exhausted | null,
): Promise<DeliveryTimes> {
  if (wake || exhausted === null) return {};
  const notBefore = (await serverNowMs(store)) + Math.ceil(exhausted.recoverMs);
  return policy === 'WAKE_AND_QUEUE' ? {notBefore, wakeMs: waitMsOf(request)} : {notBefore};
}

/** @returns undefined, and nothing is written, if nobody of the fallback is online. */
async function deliverToFallback(
  sender: Router,
  draft: Draft,
  selected: string,
): Promise<SendResult | undefined> {
  const {store} = sender;
  const stream = await streamFor(store, draft, selected);
  const command: AskCommand = {
    ...draft.command,
    header: {...draft.command.header, targetAgentType: selected},
  };
  const outcome = await acceptRouted(
    sender,
    draft,
    acceptance(
      {...draft, command},
      sender.now(),
      {check: {kind: 'type'}, writes: [{stream, document: encodeSendable(command)}]},
      {streamName: stream, status: 'FALLBACK_TO_OTHER_AGENT_TYPE', selectedAgentType: selected},
    ),
  );
  switch (outcome.kind) {
    case 'accepted':
      return {
        ...accepted(draft, 'FALLBACK_TO_OTHER_AGENT_TYPE', stream, outcome.entryIds[0]),
        selectedAgentType: selected,
      };
    case 'duplicate':
      return duplicate(draft, outcome.executionId, outcome.record);
    case 'undecided':
      return undefined;
  }
}

async function sendToWorker(sender: Sender, draft: Draft, workerId: string): Promise<SendResult> {
  const {store} = sender;
  const stream = store.keys.workerCtrlStream(workerId);
  if (await isKeptFree(store, draft, workerId))
    return refuse(sender, draft, 'WORKER_RESERVED', `worker "${workerId}"`);
  // No router is asked for one worker: neither circuit nor quota is looked at, as in the SDKs.
  const outcome = await acceptRouted(
    sender,
    draft,
    acceptance(
      {...draft, counts: false},
      sender.now(),
      {
        check: draft.policy === 'SEND_ANYWAY' ? {kind: 'none'} : {kind: 'worker', workerId},
        writes: [{stream, document: encodeSendable(draft.command)}],
      },
      {streamName: stream, status: 'DIRECT_WORKER'},
    ),
  );
  if (outcome.kind === 'accepted') return accepted(draft, 'DIRECT_WORKER', stream, outcome.entryIds[0]);
  if (outcome.kind === 'duplicate') return duplicate(draft, outcome.executionId, outcome.record);
  if (outcome.exhausted !== null)
    return refuse(sender, draft, 'WORKER_EXHAUSTED', `worker "${workerId}"`, outcome.exhausted.recoverMs);
  return refuse(sender, draft, 'WORKER_NOT_ONLINE', `worker "${workerId}" has no lease`);
}

/** Whether the worker keeps the room it has left for on-call work, which this is not. */
async function isKeptFree(store: Store, draft: Draft, workerId: string): Promise<boolean> {
  if (draft.policy === 'SEND_ANYWAY' || isUrgent(draft)) return false;
  if (!(await isReserved(store, workerId))) return false;
  if (draft.freshMessage) return true;
  const {sessionId, messageId} = draft.command.header;
  // What was accepted before finds itself.
  const known = await findByMessage(store, sessionId, messageId);
  return known === undefined || known.routeStatus === 'REJECT';
}

function accepted(draft: Draft, status: SendResult['status'], streamName: string, streamId = ''): SendResult {
  const {header} = draft.command;
  return {
    status,
    policy: draft.policy,
    targetAgentType: header.targetAgentType,
    selectedAgentType: header.targetAgentType,
    sessionId: header.sessionId,
    messageId: header.messageId,
    executionId: draft.executionId,
    traceId: header.traceId,
    streamId,
    streamName,
    ...(draft.deadline === undefined ? {} : {deadline: draft.deadline}),
    duplicate: false,
  };
}

function duplicate(draft: Draft, executionId: string, record: ExecutionRecord | undefined): SendResult {
  const {deadline: _ours, ...known} = accepted(draft, 'DELIVER_NOW', record?.streamName ?? '');
  const deadline = record && deadlineOf(record);
  return {
    ...known,
    executionId,
    traceId: record?.traceId ?? draft.command.header.traceId,
    ...(deadline === undefined ? {} : {deadline}),
    duplicate: true,
  };
}

/** Record the refusal in the session, then say it. */
async function refuse(
  sender: Router,
  draft: Draft,
  code: Exclude<AvailabilityError, 'REGISTRY_NOT_SET'>,
  reason: string,
  retryAfterMs: number | null = null,
  more: Readonly<Record<string, unknown>> = {},
): Promise<never> {
  const agentType = draft.command.header.targetAgentType;
  const {message, hint} = refusalText(code, agentType, draft.policy, reason, retryAfterMs);
  await acceptCommand(
    sender.store,
    acceptance(
      {...draft, counts: false},
      sender.now(),
      {},
      {streamName: '', status: 'REJECT', refusal: {errorCode: code, errorMessage: message}},
    ),
  );
  const {sessionId, messageId, traceId} = draft.command.header;
  throw new ByError(code, message, {
    hint,
    details: {
      agentType,
      policy: draft.policy,
      sessionId,
      messageId,
      executionId: draft.executionId,
      traceId,
      retryAfterMs,
      ...more,
    },
  });
}

function refusalText(
  code: string,
  agentType: string,
  policy: RoutePolicy,
  reason: string,
  retryAfterMs: number | null,
): {message: string; hint: string} {
  const because = reason === '' ? '' : `: ${reason}`;
  const again =
    retryAfterMs === null ? '' : ` Another try makes sense in ${Math.ceil(retryAfterMs / 1000)} s.`;
  switch (code) {
    case 'AGENT_CIRCUIT_OPEN':
      return {
        message: `The circuit of "${agentType}" is open${because}.`,
        hint: again === '' ? 'Nothing is sent to it until somebody closes the circuit.' : again.trim(),
      };
    case 'TENANT_QUOTA_EXCEEDED':
      return {
        message: `This user's quota is used up${because}.`,
        hint: `Wait for it to renew, or raise it.${again}`,
      };
    case 'AGENT_TYPE_EXHAUSTED':
      return {
        message: `Every online worker of "${agentType}" has used up its quota${because}.`,
        hint: `Wait, start another worker, or send with --policy queue-only.${again}`,
      };
    case 'WORKER_EXHAUSTED':
      return {
        message: `Nothing was sent${because} has used up its quota.`,
        hint: `Wait, or send to its agent type.${again}`,
      };
    case 'WORKER_RESERVED':
      return {
        message: `Nothing was sent${because} has on-call work, and keeps the rest of its room for more of it.`,
        hint: 'Send to its agent type, or with --metadata slot_type=on_call if it can not wait.',
      };
    case 'WORKER_NOT_ONLINE':
      return {message: `Nothing was sent${because}.`, hint: 'Run `by worker list` to see who is online.'};
    default:
      return {
        message: `No worker is online for "${agentType}" (policy ${policy.toLowerCase().replaceAll('_', '-')})${because}.`,
        hint:
          (policy === 'WAKE_AND_WAIT'
            ? 'See that a manager runs (`by manager run`), start a worker, or send with --policy queue-only.'
            : 'Start one with `by worker run`, or send with --policy wake-and-wait or queue-only.') + again,
      };
  }
}
