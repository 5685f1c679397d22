/** Replaying dead letters: which, where to, and exactly once each. cli.md §2.5, §8.2. */
import {createHash} from 'node:crypto';
import type {Clock} from '../clock.js';
import {ByError, messageOf, type ErrorCode} from '../errors.js';
import {isValidId, newExecutionId, newMessageId} from '../ids.js';
import {assertSendable, readCommandEntry, type AskCommand, type ResumeCommand} from '../protocol/commands.js';
import {entryTimeMs, type DeadLetterSource, type ReadDeadLetter} from '../protocol/deadletter.js';
import {encodePendingDelivery} from '../protocol/delivery.js';
import {encodeRecord, newExecutionRecord} from '../protocol/execution.js';
import {objectOf} from '../protocol/fields.js';
import {ProtocolError} from '../protocol/limits.js';
import type {AvailabilityStatus, RoutePolicy} from '../protocol/routing.js';
import {encodeWakeupRequest, type WakeupRequest} from '../protocol/wakeup.js';
import {admissionFacts} from '../store/control-plane.js';
import {findDeadLetter, type StoredDeadLetter} from '../store/dead-letters.js';
import {queueFull} from '../store/depth.js';
import {routableMembers} from '../store/routable.js';
import {
  auditOf,
  encodeAudit,
  readMarker,
  replayDeadLetter,
  replayMarkers,
  type Replay,
  type ReplayWrite,
} from '../store/replays.js';
import type {Store} from '../store/store.js';
import {awaitWakeup} from './await-wakeup.js';
import {decideRoute, exhaustedReason, type RouteStep} from './decide-route.js';
import {changesBetween, requireAllowed, type Change} from './edit-command.js';
import {findPayloads} from './recover-payload.js';

type Doc = Readonly<Record<string, unknown>>;

/** What a dead letter died of, for people and filters. */
export function deadLetterCode(source: DeadLetterSource | ''): string {
  switch (source) {
    case 'execution':
      return 'EXECUTION_FAILED';
    case 'poison':
      return 'UNREADABLE_COMMAND';
    case 'pending':
    case 'delivery':
      return 'DELIVERY_EXPIRED';
    case 'manual':
      return 'MANUAL';
    case 'wakeup':
    case '':
      return 'WAKEUP_FAILED';
  }
}

export interface ReplayOptions {
  /** Another agent type than the command was for. */
  readonly to?: string;
  /** What to do when nobody is online for the target. */
  readonly policy: RoutePolicy;
  /** How long WAKE_AND_WAIT waits, in milliseconds. Default 30,000. */
  readonly availabilityTimeoutMs?: number;
  /** Give it a new message id too, so that it is a new message of the session. */
  readonly newIds: boolean;
  /** Leave the dead letter; its replay is still remembered. */
  readonly keep: boolean;
  readonly reason: string;
  /** Who does it, for the audit. */
  readonly actor: string;
  /** Only commands of this user; another's are not found. */
  readonly userCode?: string;
  /** Carry on with replays that somebody else began and did not finish, as they were begun. */
  readonly resumeClaimed?: boolean;
  /** Changes the command's document. What it throws about the document skips the letter. */
  readonly edit?: (document: Doc) => Doc;
  /** `edit` writes a whole command where none was kept; it is given an empty document then. */
  readonly writesLost?: boolean;
  readonly signal?: AbortSignal;
}

export interface ReadyReplay {
  readonly kind: 'ready';
  readonly id: string;
  readonly target: string;
  readonly step: Exclude<RouteStep, {kind: 'reject' | 'wait-for-recovery'}>;
  /** The command's document, edited. */
  readonly document: Doc;
  readonly command: AskCommand | ResumeCommand;
  readonly changes: readonly Change[];
  /** SHA-256 of the command before it was edited. */
  readonly before: string;
  readonly letter: ReadDeadLetter;
  /** The command was not in the letter itself. */
  readonly isRecovered: boolean;
  readonly count: number;
}

/** One dead letter as a plan sees it. */
export type ReplayPlan =
  | ReadyReplay
  /** Somebody began to replay it: it is carried out as it was begun. */
  | {readonly kind: 'resume'; readonly id: string; readonly claim: Replay; readonly actor: string}
  | {readonly kind: 'skipped'; readonly id: string; readonly code: ErrorCode; readonly why: string};

/** Decide what a replay of these entries would do. Writes nothing. */
export async function planReplay(
  store: Store,
  entries: readonly StoredDeadLetter[],
  options: ReplayOptions,
): Promise<ReplayPlan[]> {
  const [markers, payloads] = await Promise.all([
    replayMarkers(
      store,
      entries.map(entry => entry.id),
    ),
    findPayloads(store, entries),
  ]);
  const routes = new Routes(store, options.policy);
  const plans: ReplayPlan[] = [];
  for (const {id, letter} of entries) {
    try {
      const payload = payloads.get(id) ?? {kind: 'lost'};
      const command = ownedCommand(payload.kind === 'lost' ? {} : payload.document, options);
      const marker = markers.get(id);
      if (marker !== undefined) plans.push(resumed(id, marker, options));
      else if (letter === undefined) throw lost('it can not be read');
      else if (payload.kind !== 'lost' && (command !== undefined || options.edit !== undefined))
        plans.push(await planOne(routes, {id, letter}, payload, options, command));
      else if (options.writesLost) plans.push(await planOne(routes, {id, letter}, WRITTEN, options));
      else throw lost(whyLost(letter));
    } catch (error) {
      if (!(error instanceof ByError) || !ABOUT_ONE.has(error.code)) throw error;
      plans.push({kind: 'skipped', id, code: error.code, why: error.message});
    }
  }
  return plans;
}

/** What is wrong with one letter, and says nothing about the next. */
const ABOUT_ONE: ReadonlySet<ErrorCode> = new Set([
  ...(['PAYLOAD_LOST', 'ALREADY_REPLAYED', 'CONFLICT', 'NOT_FOUND'] as const),
  ...(['INVALID_INPUT', 'MESSAGE_TOO_LARGE'] as const),
  ...(['AGENT_TYPE_UNAVAILABLE', 'AGENT_CIRCUIT_OPEN', 'TENANT_QUOTA_EXCEEDED'] as const),
  'AGENT_TYPE_EXHAUSTED',
]);

/** No command was kept: whoever edits it writes all of it. */
const WRITTEN = {kind: 'recovered', document: {}} as const;

const whyLost = ({xData, commandPayload}: ReadDeadLetter): string =>
  xData === '' && Object.keys(commandPayload).length === 0
    ? 'it was written without its command, which is not in the wakeup stream any more'
    : 'what it holds is no command (correct it with --edit)';

const skip = (code: ErrorCode, why: string) => new ByError(code, why, {hint: ''});
const lost = (why: string) => skip('PAYLOAD_LOST', why);

function resumed(id: string, marker: string, {resumeClaimed}: ReplayOptions): ReplayPlan {
  const state = readMarker(marker, id);
  if (state?.kind !== 'claimed') throw skip('ALREADY_REPLAYED', 'it was replayed before');
  const {actor} = state.audit;
  if (resumeClaimed === true) return {kind: 'resume', id, claim: state.plan, actor};
  const who = actor === '' ? 'somebody' : actor;
  throw skip('CONFLICT', `${who} began to replay it and has not finished (carry on: --resume-claimed)`);
}

/** @returns undefined if it can not be read. @throws {ByError} NOT_FOUND if it is another user's. */
function ownedCommand(document: Doc, {userCode}: ReplayOptions): AskCommand | ResumeCommand | undefined {
  const command = readable(document);
  // To one user, the command of another is not there: guarantees.md, tenancy.
  if (userCode !== undefined && command?.header.userCode !== userCode)
    throw skip('NOT_FOUND', 'there is no such dead letter of this user');
  return command;
}

function readable(document: Doc): AskCommand | ResumeCommand | undefined {
  try {
    return checkedCommand(document);
  } catch (error) {
    if (error instanceof ByError) return undefined;
    throw error;
  }
}

/** @throws {ByError} MESSAGE_TOO_LARGE or INVALID_INPUT for what a worker would not run. */
function checkedCommand(document: Doc): AskCommand | ResumeCommand {
  try {
    const command = readCommandEntry(JSON.stringify(document));
    if (command.action === 'ASK_AGENT' || command.action === 'RESUME') return command;
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    const code =
      error.code === 'TOO_LARGE' || error.code === 'STRING_TOO_LONG' ? 'MESSAGE_TOO_LARGE' : 'INVALID_INPUT';
    throw new ByError(code, error.message, {hint: 'Correct what you changed.', cause: error});
  }
  throw new ByError('INVALID_INPUT', 'Only ASK_AGENT and RESUME can be replayed.', {
    hint: 'Leave action_type as it was.',
  });
}

async function planOne(
  routes: Routes,
  {id, letter}: {id: string; letter: ReadDeadLetter},
  payload: {readonly kind: 'kept' | 'recovered'; readonly document: Doc},
  options: ReplayOptions,
  asKept?: ReadyReplay['command'],
): Promise<ReadyReplay> {
  const original = payload.document;
  const document = options.edit?.(original) ?? original;
  const isEdited = document !== original;
  const changes = isEdited ? changesBetween(original, document) : [];
  if (payload !== WRITTEN) requireAllowed(changes);
  const command = isEdited || asKept === undefined ? checkedCommand(document) : asKept;
  if (changes.length > 0) assertSendable(command);
  const wanted = options.to ?? (letter.targetAgentType || command.header.targetAgentType);
  const step = await routes.decide(wanted, command.header.userCode);
  const target = step.kind === 'deliver-to' ? step.agentType : wanted;
  const count = Number(command.header.metadata['replay_count'] ?? 0) + 1;
  const isRecovered = payload.kind === 'recovered';
  const before = digest(original);
  return {kind: 'ready', id, target, step, document, command, changes, before, letter, isRecovered, count};
}

const digest = (document: Doc): string => createHash('sha256').update(JSON.stringify(document)).digest('hex');

/** Where to go for each target and user, asked once for all letters of a plan. */
class Routes {
  private readonly known = new Map<string, Promise<RouteStep>>();

  constructor(
    private readonly store: Store,
    private readonly policy: RoutePolicy,
  ) {}

  /** @throws {ByError} AGENT_TYPE_UNAVAILABLE, AGENT_CIRCUIT_OPEN, TENANT_QUOTA_EXCEEDED, INVALID_INPUT. */
  async decide(agentType: string, userCode: string): Promise<ReadyReplay['step']> {
    if (!isValidId(agentType)) throw skip('INVALID_INPUT', 'it names no agent type (name one with --to)');
    const user = isValidId(userCode) ? userCode : '';
    const key = `${agentType}\n${user}`;
    const step = await (this.known.get(key) ?? this.remember(key, this.ask(agentType, user)));
    // The letters after it are not to wait for hours.
    if (step.kind === 'wait-for-recovery')
      throw skip('AGENT_TYPE_EXHAUSTED', exhaustedText(agentType, exhaustedReason(step.exhausted)));
    if (step.kind === 'reject') throw skip(step.code, refusalText(step, agentType));
    return step;
  }

  private remember(key: string, step: Promise<RouteStep>): Promise<RouteStep> {
    this.known.set(key, step);
    return step;
  }

  private async ask(agentType: string, userCode: string): Promise<RouteStep> {
    const facts = await admissionFacts(this.store, agentType, userCode);
    return decideRoute(
      {...facts, fallbackOnline: facts.standInOnline},
      this.policy,
      this.store.unreadableRecords,
    );
  }
}

const exhaustedText = (agentType: string, reason: string): string =>
  `every online worker of "${agentType}" has used up its quota: ${reason}`;

function refusalText({code, reason}: Extract<RouteStep, {kind: 'reject'}>, agentType: string): string {
  const because = reason === '' ? '' : `: ${reason}`;
  switch (code) {
    case 'AGENT_CIRCUIT_OPEN':
      return `the circuit of "${agentType}" is open${because}`;
    case 'TENANT_QUOTA_EXCEEDED':
      return `its user's quota is used up${because}`;
    case 'AGENT_TYPE_EXHAUSTED':
      return exhaustedText(agentType, reason);
    case 'AGENT_TYPE_UNAVAILABLE':
      return `nobody is online for "${agentType}" (replay it anyway with --policy send-anyway)`;
  }
}

export interface ReplayedItem {
  readonly id: string;
  readonly result: 'replayed' | 'already' | 'claimed' | 'missing' | 'failed';
  readonly streamId: string;
  readonly sessionId: string;
  readonly messageId: string;
  readonly executionId: string;
  readonly target: string;
  readonly replayCount: number;
  /** Why it failed; '' otherwise. */
  readonly code: ErrorCode | '';
  readonly why: string;
}

/**
 * Carry out one planned replay. Safe to repeat: the entry's marker lets only the first one through.
 * @throws {ByError} AGENT_TYPE_UNAVAILABLE if nobody woke up, QUEUE_FULL, MESSAGE_TOO_LARGE, and what Redis says.
 */
export async function carryOutReplay(
  store: Store,
  now: Clock,
  replayId: string,
  plan: Exclude<ReplayPlan, {kind: 'skipped'}>,
  options: ReplayOptions,
): Promise<ReplayedItem> {
  const isOurs = plan.kind === 'ready';
  const replay = isOurs ? await replayOf(store, now(), replayId, plan, options) : plan.claim;
  const outcome = await replayDeadLetter(store, replay, {resume: !isOurs});
  if (outcome.kind === 'full') throw queueFull(store, 'type', replay.targetAgentType, '');
  const isDone = outcome.kind === 'replayed';
  return {
    id: plan.id,
    result: outcome.kind,
    streamId: isDone ? outcome.streamId : '',
    sessionId: replay.sessionId,
    messageId: isDone ? outcome.messageId : replay.messageId,
    executionId: isDone ? outcome.executionId : replay.executionId,
    target: replay.targetAgentType,
    replayCount: isOurs ? plan.count : 0,
    code: '',
    why: '',
  };
}

async function replayOf(
  store: Store,
  at: number,
  replayId: string,
  plan: ReadyReplay,
  options: ReplayOptions,
): Promise<Replay> {
  const {id, letter, command} = plan;
  const executionId = newExecutionId();
  const messageId = options.newIds ? newMessageId() : command.header.messageId;
  const lineage = {
    by_execution_id: executionId,
    replay_of: letter.executionId || id,
    replay_id: replayId,
    replay_count: plan.count,
  };
  const documentFor = (target: string): Doc => ({
    ...plan.document,
    header: {
      ...objectOf(plan.document['header']),
      message_id: messageId,
      trace_id: command.header.traceId,
      target_agent_type: target,
      metadata: {...command.header.metadata, ...lineage},
    },
  });
  // The metadata is ours, and may be what makes it too large.
  checkedCommand(documentFor(plan.target));
  const request = wakeupRequest(plan, documentFor(plan.target), executionId, options);
  const target = plan.step.kind === 'wake-and-wait' ? await wake(store, request, options) : plan.target;
  const document = documentFor(target);
  const {streamName, status, writes} = route(store, plan, target, document, request);
  const {sessionId} = command.header;
  const record = newExecutionRecord({
    ...{executionId, messageId, sessionId, streamName, now: at},
    traceId: command.header.traceId,
    parentMessageId: command.header.parentMessageId,
    sourceAgentType: command.header.sourceAgentType === '' ? 'client' : command.header.sourceAgentType,
    targetAgentType: target,
    route: {policy: options.policy, status, selectedAgentType: target},
    extra: {
      x_replay_of: lineage.replay_of,
      x_replay_id: replayId,
      x_first_accepted_at: letter.firstAcceptedAt || entryTimeMs(letter.xEntryId) || entryTimeMs(id),
    },
  });
  const audit = encodeAudit({
    ...{action: 'replay', entry: id, replayId, actor: options.actor, reason: options.reason, at},
    ...{replayOf: lineage.replay_of, executionId, sessionId, messageId, target, policy: options.policy},
    changed: plan.changes.map(({path}) => path),
    before: plan.before,
    after: plan.changes.length === 0 ? plan.before : digest(plan.document),
  });
  return {
    ...{entryId: id, targetAgentType: target, sessionId, executionId, messageId, writes, audit},
    record: encodeRecord(record),
    keep: options.keep,
  };
}

function route(
  {keys}: Store,
  {step}: ReadyReplay,
  target: string,
  document: Doc,
  request: WakeupRequest,
): {streamName: string; status: AvailabilityStatus; writes: ReplayWrite[]} {
  if (step.kind !== 'queue') {
    const status =
      step.kind === 'deliver'
        ? 'DELIVER_NOW'
        : step.kind === 'deliver-to'
          ? 'FALLBACK_TO_OTHER_AGENT_TYPE'
          : 'WAIT_AND_DELIVER';
    const writes: ReplayWrite[] = [{to: 'agent-type', document: JSON.stringify(document)}];
    return {streamName: keys.ctrlStream(target), status, writes};
  }
  const {executionId, messageId, sessionId, traceId, userCode, region} = request;
  const pending = encodePendingDelivery({
    ...{executionId, messageId, sessionId, traceId, userCode, region, targetAgentType: target},
    ...{deliveryStream: keys.ctrlStream(target), commandPayload: document, priority: 0, metadata: {}},
  });
  const wakeup: ReplayWrite[] = step.wake ? [{to: 'wakeup', document: encodeWakeupRequest(request)}] : [];
  return {
    streamName: keys.deliveryPending(),
    status: 'QUEUE_PENDING',
    writes: [{to: 'pending', document: pending}, ...wakeup],
  };
}

function wakeupRequest(
  {target, command, letter}: ReadyReplay,
  document: Doc,
  executionId: string,
  {availabilityTimeoutMs = 30_000}: ReplayOptions,
): WakeupRequest {
  const {sessionId, traceId, userCode} = command.header;
  return {
    ...{
      executionId,
      targetAgentType: target,
      sessionId,
      traceId,
      source: 'client',
      priority: 0,
      metadata: {},
    },
    messageId: String(objectOf(document['header'])['message_id']),
    // The command waits elsewhere, also when somebody waits for the answer: a failed wakeup is no second dead letter.
    policy: 'WAKE_AND_QUEUE',
    timeoutMs: availabilityTimeoutMs,
    userCode: isValidId(userCode) ? userCode : '',
    region: isValidId(letter.region) ? letter.region : '',
    commandPayload: document,
  };
}

/** @returns the agent type that is online now. @throws {ByError} AGENT_TYPE_UNAVAILABLE */
async function wake(store: Store, request: WakeupRequest, {signal}: ReplayOptions): Promise<string> {
  const outcome = await awaitWakeup(store, request, signal ? {signal} : {});
  switch (outcome.kind) {
    case 'online':
      return request.targetAgentType;
    case 'fallback':
      if (!isValidId(outcome.agentType)) throw unavailable(request, 'it falls back to no agent type');
      if ((await routableMembers(store, outcome.agentType)).online) return outcome.agentType;
      throw unavailable(request, `its fallback "${outcome.agentType}" is not online`);
    case 'rejected':
      throw unavailable(request, outcome.reason);
    case 'timeout':
      throw unavailable(request, `nobody came online within ${request.timeoutMs} ms`);
  }
}

const unavailable = ({targetAgentType}: WakeupRequest, why: string) =>
  new ByError('AGENT_TYPE_UNAVAILABLE', `"${targetAgentType}" did not wake up: ${why}.`, {
    hint: 'The dead letter is where it was. Replay it later, or with --policy queue-only.',
  });

/** @throws {ByError} NOT_FOUND; ALREADY_REPLAYED or CONFLICT if the audit knows what became of it. */
export async function requireDeadLetter(store: Store, id: string): Promise<StoredDeadLetter> {
  const isId = /^\d{1,20}-\d{1,20}$/.test(id);
  const found = isId ? await findDeadLetter(store, id) : undefined;
  if (found) return found;
  const [last] = isId ? await auditOf(store, id, 1) : [];
  if (last !== undefined) {
    const isReplay = last.action === 'replay';
    throw new ByError(
      isReplay ? 'ALREADY_REPLAYED' : 'NOT_FOUND',
      isReplay
        ? `Dead letter ${id} was replayed by ${last.actor} as ${last.executionId}.`
        : `Dead letter ${id} was dropped by ${last.actor}.`,
      {
        hint: 'The audit says more: see `by deadletter show` of the same id.',
        next: [`by deadletter show ${id}`],
        details: {replayId: last.replayId, executionId: last.executionId, actor: last.actor, at: last.at},
      },
    );
  }
  throw new ByError('NOT_FOUND', `There is no dead letter "${id}".`, {
    hint: 'See what is there with `by deadletter list`.',
    next: ['by deadletter list'],
  });
}

/** A replay that threw, as one item of many. */
export function failedItem(plan: Exclude<ReplayPlan, {kind: 'skipped'}>, error: unknown): ReplayedItem {
  const code = error instanceof ByError ? error.code : 'INTERNAL';
  const isOurs = plan.kind === 'ready';
  return {
    ...{id: plan.id, result: 'failed', streamId: '', executionId: '', code, why: messageOf(error)},
    sessionId: isOurs ? plan.command.header.sessionId : plan.claim.sessionId,
    messageId: isOurs ? plan.command.header.messageId : plan.claim.messageId,
    target: isOurs ? plan.target : plan.claim.targetAgentType,
    replayCount: isOurs ? plan.count : 0,
  };
}
