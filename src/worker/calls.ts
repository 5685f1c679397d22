/** What a message agent asks others in one turn, and how the turn ends when it waits for them: spec §6.7, §6.8. */
import {createHash} from 'node:crypto';
import type {Router} from '../availability/send.js';
import {sleep} from '../clock.js';
import {ByError} from '../errors.js';
import type {Content} from '../protocol/commands.js';
import type {ExecutionRecord} from '../protocol/execution.js';
import {isObject} from '../protocol/limits.js';
import type {TaskResult} from '../protocol/results.js';
import type {RoutePolicy} from '../protocol/routing.js';
import {isTerminal} from '../protocol/states.js';
import {GROUP_QUEUED, groupReceipt, type GroupPolicy, type RestPolicy} from '../protocol/task-group.js';
import {findExecution} from '../store/executions.js';
import {readGroup, type GroupAnswer, type GroupRest} from '../store/task-groups.js';
import {
  CALL_REFUSALS,
  dispatch,
  dispatchGroup,
  stopIfNotOurs,
  type Call,
  type CallingTurn,
} from './dispatch.js';
import type {EventWriter} from './event-writer.js';
import {cancelGroupRest, checkRest} from './rest.js';
import type {RunningTask} from './running.js';
import {withCallHooks, withGroupHooks, type TurnPlugins} from './turn-plugins.js';

export interface AgentCall {
  readonly agentType: string;
  /** Text, or an array of objects; never empty. */
  readonly content: Content;
  readonly extraPayload?: Readonly<Record<string, unknown>>;
  /** Default true. false hands the question over: the callee answers the person, and this execution hears nothing. */
  readonly waitForReply?: boolean;
  readonly metadata?: Readonly<Record<string, unknown>>;
  /**
   * The same id is the same call, made once however often. Default: the same for the same call of the same turn, so that
   * a turn that is tried again does not call again.
   */
  readonly messageId?: string;
  /** Default: the execution's own message. */
  readonly parentMessageId?: string;
  /** What to do when nobody is online. Default FAIL_FAST. */
  readonly policy?: RoutePolicy;
  /** Milliseconds WAKE_AND_WAIT waits; meanwhile the worker's slot is free for others. Default 30,000. */
  readonly availabilityTimeoutMs?: number;
  readonly region?: string;
  readonly priority?: number;
  /** Milliseconds after which the call ends FAILED. Default: this execution's own deadline, and never after it. */
  readonly deadlineMs?: number;
}

/** What {@link AgentCall} returns at once, spelt as in the SDKs. The answer comes as a RESUME, in a later turn. */
export type CallReceipt =
  | {
      readonly status: 'QUEUED';
      readonly message_id: string;
      readonly parent_message_id: string;
      readonly target_agent_type: string;
    }
  /** It was refused, and nothing is waited for. */
  | {
      readonly status: 'FAILED';
      readonly message_id: '';
      readonly parent_message_id: string;
      readonly target_agent_type: string;
      readonly error: string;
      readonly error_code: string;
    };

export type GroupTask = Pick<AgentCall, 'agentType' | 'content' | 'extraPayload' | 'metadata' | 'messageId'>;

export interface GroupOptions {
  /** Default true. false hands all of them over. */
  readonly waitForReply?: boolean;
  /** The same id is the same group. Default: the same for the same group of the same turn. */
  readonly taskGroupId?: string;
  /** When this execution goes on. Default `allSettled`: when all have answered. */
  readonly policy?: GroupPolicy;
  /** Milliseconds after which members that have not answered end FAILED. Default: this execution's own deadline. */
  readonly deadlineMs?: number;
  /**
   * What becomes of members that have not answered when the policy is met, or can not be: `cancel` ends them with all that
   * they started. Default `leave`.
   */
  readonly rest?: RestPolicy;
}

export type GroupReceipt = ReturnType<typeof groupReceipt>;

/** One answer of a group, spelt as in the SDKs. */
export interface MemberResult {
  /** Of the call. */
  readonly message_id: string;
  readonly status: string;
  readonly reply_data: unknown;
  readonly content: unknown;
  readonly metadata: Readonly<Record<string, unknown>>;
  readonly extra_payload: Readonly<Record<string, unknown>>;
}

/** Why a call was not made. */
export type Refusal = Pick<Extract<CallReceipt, {status: 'FAILED'}>, 'error' | 'error_code'>;

/** Refusals a handler is told in its receipt; everything else is thrown. */
const REFUSALS: ReadonlySet<string> = new Set(CALL_REFUSALS);
const COLLECT_TIMEOUT_MS = 30_000;
const COLLECT_POLL_MS = 100;
const WAKEUP_TIMEOUT_MS = 30_000;

/** What the turn is to its calls. */
export interface CallsFacts extends CallingTurn {
  /** `{stream}/{entry id}` of the command this turn runs: tells a repeat of the turn from another. */
  readonly entry: string;
  /** It is the first time that the execution is started. */
  readonly isFirstStart: boolean;
  /** By this process's clock. */
  readonly localDeadline: number | undefined;
  readonly task: RunningTask;
  readonly writer: EventWriter;
  readonly plugins?: TurnPlugins | undefined;
  /** Gives the turn's slot to others until the returned function is called. */
  readonly stepAside: () => () => void;
}

export class TurnCalls {
  /** Set when the turn asked a person or an agent: without an answer of its own, it ends with this status. */
  suspension: 'WAITING_USER' | 'WAITING_AGENT' | typeof GROUP_QUEUED | undefined;
  /** Message ids of calls that answer in this execution's place: they close the stream. */
  readonly handedOver: string[] = [];
  /** Message id of each call that is waited for, and its group or ''. */
  readonly waiting = new Map<string, string>();
  private readonly receipts = new Set<string>();
  private readonly refusals = new WeakMap<object, Refusal>();
  /** How often the same call was made in this turn. */
  private readonly made = new Map<string, number>();

  constructor(
    private readonly router: Router,
    private readonly facts: CallsFacts,
  ) {}

  /** The turn asked a person, who is shown to be waited for also where agents are. */
  askedUser(): void {
    this.suspension = 'WAITING_USER';
  }

  async call(request: AgentCall): Promise<CallReceipt> {
    const {facts} = this;
    facts.task.signal.throwIfAborted();
    const {waitForReply = true, messageId = this.idFor('msg', {...request, waitForReply})} = request;
    const parent = request.parentMessageId ?? facts.messageId;
    let back: (() => void) | undefined;
    try {
      const sent = await withCallHooks(facts.plugins, request, ({metadata}) =>
        dispatch(this.router, facts, {
          ...request,
          ...{metadata, messageId, waitForReply, signal: facts.task.signal},
          isNewMessage: facts.isFirstStart && request.messageId === undefined,
          ...this.wakeupTimeout(request),
          onWakeup: () => (back ??= facts.stepAside()),
        }),
      );
      if (sent.duplicate && waitForReply) await this.checkOurs(messageId, sent.executionId);
      this.note([messageId], waitForReply, '');
      return {
        status: 'QUEUED',
        message_id: messageId,
        parent_message_id: parent,
        target_agent_type: sent.selectedAgentType,
      };
    } catch (error) {
      stopIfNotOurs(error, facts.task, facts.writer);
      if (!(error instanceof ByError) || !REFUSALS.has(error.code)) throw error;
      const receipt = {
        ...({status: 'FAILED', message_id: '', parent_message_id: parent} as const),
        ...{target_agent_type: request.agentType, error: error.message, error_code: error.code},
      };
      this.refusals.set(receipt, {error: receipt.error, error_code: receipt.error_code});
      return receipt;
    } finally {
      back?.();
    }
  }

  async group(tasks: readonly GroupTask[], options: GroupOptions = {}): Promise<GroupReceipt> {
    const {facts} = this;
    facts.task.signal.throwIfAborted();
    if (tasks.length === 0) return groupReceipt('', []);
    const {waitForReply = true, policy = 'allSettled', deadlineMs, rest = 'leave'} = options;
    checkRest(rest);
    const groupId = options.taskGroupId ?? this.idFor('tg', {tasks, waitForReply});
    const calls = tasks.map((task, at) => ({
      ...task,
      messageId: task.messageId ?? this.idFor('msg', {...task, groupId, at}),
    }));
    try {
      const sent = await withGroupHooks(facts.plugins, calls, named =>
        dispatchGroup(this.router, facts, {
          ...{groupId, calls: named, waitForReply, policy, rest},
          ...(deadlineMs === undefined ? {} : {deadlineMs}),
        }),
      );
      this.receipts.add(groupId);
      this.note(
        sent.map(task => task.messageId),
        waitForReply,
        groupId,
      );
      return groupReceipt(groupId, sent);
    } catch (error) {
      stopIfNotOurs(error, facts.task, facts.writer);
      throw error;
    }
  }

  /** Answers of a group, in the order its calls were made; waits for those that are missing, but not for ever. */
  async collect(groupId: string, timeoutMs = COLLECT_TIMEOUT_MS): Promise<MemberResult[]> {
    const {signal} = this.facts.task;
    const until = performance.now() + timeoutMs;
    let back: (() => void) | undefined;
    try {
      for (;;) {
        signal.throwIfAborted();
        const group = await readGroup(this.router.store, groupId);
        if (group?.rest !== undefined) await this.cancelRest(groupId, group.rest);
        if (group?.isDone === true || performance.now() >= until)
          return (group?.answers ?? []).map(memberResult);
        // Those it waits for may need the slot.
        back ??= this.facts.stepAside();
        await sleep(COLLECT_POLL_MS, signal);
      }
    } finally {
      back?.();
    }
  }

  /** Whoever counted the answer that was enough may have died before it did this. */
  private async cancelRest(groupId: string, rest: GroupRest): Promise<void> {
    const {turn, agentType: requestedBy} = this.facts;
    const {store, now} = this.router;
    const {sessionId} = turn;
    await cancelGroupRest(store, now, {sessionId, groupId, requestedBy, decider: ''}, rest);
  }

  /**
   * How the turn ends: a handler that waits for others and gives no answer of its own ends it suspended, whether it
   * returned nothing, what it was told when it called, or a bare COMPLETED.
   */
  ending(value: unknown, result: TaskResult): TaskResult {
    if (this.suspension === undefined) return result;
    const isReceipt = this.isReceipt(value);
    if (!isReceipt && !isTerminal(result.status)) return result;
    const saysNothing = result.content === '' && (isReceipt || result.replyData === null);
    if (!isReceipt && (result.status !== 'COMPLETED' || !saysNothing)) return result;
    return {...result, status: this.suspension, replyData: null};
  }

  /** @returns the refusal a handler handed on as its own end, by returning the receipt it got. */
  refusedBy(value: unknown): Refusal | undefined {
    return isObject(value) ? this.refusals.get(value) : undefined;
  }

  /** Fields of the record of an execution that waits: whose answers it goes on for, by this worker's note. */
  waitingFields(record: ExecutionRecord, workerId: string): {x_waiting?: WaitingCalls} {
    const before = record.extra['x_waiting'];
    const calls = isObject(before) && isObject(before['calls']) ? before['calls'] : undefined;
    if (calls === undefined && this.waiting.size === 0) return {};
    return {x_waiting: {worker_id: workerId, calls: {...calls, ...Object.fromEntries(this.waiting)}}};
  }

  private note(messageIds: readonly string[], waitForReply: boolean, groupId: string): void {
    for (const messageId of messageIds) this.receipts.add(messageId);
    if (!waitForReply) {
      this.handedOver.push(...messageIds);
      return;
    }
    for (const messageId of messageIds) this.waiting.set(messageId, groupId);
    if (this.suspension !== 'WAITING_USER') this.suspension = groupId === '' ? 'WAITING_AGENT' : GROUP_QUEUED;
  }

  private isReceipt(value: unknown): boolean {
    if (Array.isArray(value)) return value.length > 0 && value.every(item => this.isReceipt(item));
    if (!isObject(value) || value['status'] === 'FAILED') return false;
    const names = [value['message_id'], value['task_group_id']];
    return names.some(name => typeof name === 'string' && this.receipts.has(name));
  }

  /** Somebody else's message answers somebody else: we would wait for ever. */
  private async checkOurs(messageId: string, executionId: string): Promise<void> {
    const {sessionId, executionId: own} = this.facts.turn;
    const record = await findExecution(this.router.store, sessionId, executionId);
    if (record?.extra['x_caller'] === own) return;
    throw new ByError(
      'CONFLICT',
      `Message "${messageId}" is in this session already, and was not called from here.`,
      {
        hint: 'Give the call a message id of its own, or none.',
      },
    );
  }

  /** The same for the same call of the same turn, when the turn is tried again. */
  private idFor(kind: 'msg' | 'tg', call: object): string {
    const {turn, entry} = this.facts;
    const what = JSON.stringify([turn.executionId, entry, kind, call]);
    const times = this.made.get(what) ?? 0;
    this.made.set(what, times + 1);
    return `${kind}-${createHash('sha256').update(`${what}#${times}`).digest('hex').slice(0, 16)}`;
  }

  private wakeupTimeout({availabilityTimeoutMs = WAKEUP_TIMEOUT_MS}: AgentCall): Partial<Call> {
    const {localDeadline} = this.facts;
    if (localDeadline === undefined) return {availabilityTimeoutMs};
    return {
      availabilityTimeoutMs: Math.max(0, Math.min(availabilityTimeoutMs, localDeadline - this.router.now())),
    };
  }
}

const memberResult = ({messageId, result}: GroupAnswer): MemberResult => ({
  message_id: messageId,
  status: result.status,
  reply_data: result.replyData,
  content: result.content,
  metadata: result.metadata,
  extra_payload: result.extraPayload,
});

/** In the record of an execution that waits (`x_waiting`). */
export interface WaitingCalls {
  /** Who noted it: another worker that ran a turn since may have called without a note. */
  readonly worker_id: string;
  /** Message id of each call, and its group or ''. */
  readonly calls: Readonly<Record<string, unknown>>;
}
