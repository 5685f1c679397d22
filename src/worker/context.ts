/** What agent code holds while it works: who it is, what it may say, and when it must stop. */
import {ByError} from '../errors.js';
import type {Header} from '../protocol/header.js';
import {
  artifactEvent,
  askUserEvent,
  chunkEvent,
  rawEvent,
  stateEvent,
  type Chunk,
  type DataEvent,
  type EventContext,
  type RawEvent,
} from '../protocol/events.js';
import {newEventId, newMessageId} from '../ids.js';
import {turnQuestionId} from '../protocol/question.js';
import type {Logger} from '../log.js';
import type {
  AgentCall,
  CallReceipt,
  GroupOptions,
  GroupReceipt,
  GroupTask,
  MemberResult,
  TurnCalls,
} from './calls.js';
import type {EventWriter} from './event-writer.js';
import type {RunningTask} from './running.js';
import type {SessionHistory, TurnHistory} from './turn-history.js';
import type {FileStore, SessionFiles} from '../files/file-store.js';
import {localFiles} from '../files/local-files.js';
import type {ToolContext} from '../plugins/agent-config.js';
import type {PromptVariables} from '../plugins/prompt.js';
import {NO_CONFIG, TurnTools, type TurnConfig} from '../plugins/turn-config.js';
import type {TurnPlugins} from './turn-plugins.js';
import type {ModelCall, ModelUsage} from './model-span.js';
import type {ExhaustReport} from './status-report.js';
import type {TurnTrace} from './turn-trace.js';
import {openWorkspace, workspaceFolder, type Workspace} from './workspace.js';
import {runMetaOf, type RunMeta} from '../protocol/orchestration/run-meta.js';
import {approvalQuestion, type Approval} from '../protocol/orchestration/approval.js';
import {machineAbilities} from '../sandbox/probe.js';
import {ToolGuard, type SpawnOptions, type SpawnResult} from '../sandbox/tool-guard.js';
import {noteAskedBy} from '../store/approvals.js';
import {openWorkspace as openRunWorkspace} from '../store/orchestration.js';
import {takeSteered} from '../store/steering.js';
import type {Store} from '../store/store.js';

export interface ContextFacts {
  readonly header: Header;
  readonly executionId: string;
  /** 1 for the first try of the execution. */
  readonly attempt: number;
  readonly workerId: string;
  readonly agentType: string;
  /** The ASK's own message and parent; a RESUME's header may name others. */
  readonly messageId: string;
  readonly parentMessageId: string;
  readonly subAgent: boolean;
  readonly task: Pick<RunningTask, 'signal'>;
  /** Unix milliseconds by this process's clock; undefined if the execution has no deadline. */
  readonly deadline: number | undefined;
  readonly log: Logger;
  readonly now: () => number;
  /** The folder in which sessions have their workspaces. */
  readonly workspaceRoot: string;
  /** Where the files of sessions are kept; undefined: in the workspace. */
  readonly files: SessionFiles | undefined;
  readonly history: TurnHistory;
  readonly store: Store;
  /** Of the worker's plugins, if it has any. */
  readonly plugins?: TurnPlugins | undefined;
  readonly trace: TurnTrace;
  readonly reportExhausted: (report: ExhaustReport) => Promise<void>;
  /** What the record keeps of the run, for turns whose command does not say it. */
  readonly keptRun: unknown;
}

/** A step's own message id, and the one it belongs to. */
export interface EventScope {
  readonly messageId: string;
  readonly parentMessageId: string;
}

/** What both ways to write an agent have in common. */
export class TurnContext {
  protected readonly emitter: EventContext;
  private opened: Workspace | undefined;
  private store: FileStore | undefined;
  private toolbox: TurnTools | undefined;
  private guarding: ToolGuard | undefined;
  private steerings = 0;

  constructor(
    protected readonly facts: ContextFacts,
    protected readonly writer: EventWriter,
    scope?: EventScope,
  ) {
    this.emitter = {
      traceId: facts.header.traceId,
      sessionId: facts.header.sessionId,
      sourceAgentType: facts.agentType,
      messageId: scope?.messageId ?? facts.messageId,
      parentMessageId: scope?.parentMessageId ?? facts.parentMessageId,
      subAgent: facts.subAgent,
      now: facts.now,
      newEventId,
    };
  }

  get sessionId(): string {
    return this.facts.header.sessionId;
  }
  get messageId(): string {
    return this.emitter.messageId;
  }
  get parentMessageId(): string {
    return this.emitter.parentMessageId;
  }
  get traceId(): string {
    return this.facts.header.traceId;
  }
  /** With {@link attempt}, the key under which side effects of agent code can be made idempotent (G19). */
  get executionId(): string {
    return this.facts.executionId;
  }
  get attempt(): number {
    return this.facts.attempt;
  }
  get agentType(): string {
    return this.facts.agentType;
  }
  get workerId(): string {
    return this.facts.workerId;
  }
  get userCode(): string {
    return this.facts.header.userCode;
  }
  get userName(): string {
    return this.facts.header.userName;
  }
  get metadata(): Readonly<Record<string, unknown>> {
    return this.facts.header.metadata;
  }
  /**
   * Aborted when the execution is cancelled or its deadline passes, the worker loses its lease, or it has to stop. The
   * reason says which: after a deadline it is named `TimeoutError`, else `AbortError`.
   */
  get signal(): AbortSignal {
    return this.facts.task.signal;
  }
  /** The session's files on this machine; made when it is first asked for. Other machines have others. */
  get workspace(): Workspace {
    const {sessionId, userCode} = this.facts.header;
    return (this.opened ??= openWorkspace(this.facts.workspaceRoot, {sessionId, userCode}));
  }
  /**
   * Files of the session one by one: whole or not at all, as streams, within limits. Those of {@link workspace}, unless the
   * worker keeps them elsewhere (its option `files`).
   */
  get files(): FileStore {
    return (this.store ??= this.openFiles());
  }
  private openFiles(): FileStore {
    const {sessionId, userCode} = this.facts.header;
    const owner = {sessionId, userCode};
    return this.facts.files?.({...owner, folder: workspaceFolder(owner)}) ?? localFiles(this.workspace.path);
  }
  /** What was said in the session, by the person and by agents. */
  get history(): SessionHistory {
    return this.facts.history;
  }
  /**
   * When {@link signal} aborts because the sender wants no answer any more, in Unix milliseconds by this process's clock;
   * undefined if the sender set no deadline.
   */
  get deadline(): number | undefined {
    return this.facts.deadline;
  }
  get log(): Logger {
    return this.facts.log;
  }

  /** What the worker's plugins say about agents; the same for the whole turn, whatever is reloaded meanwhile. */
  get config(): TurnConfig {
    return this.facts.plugins?.config ?? NO_CONFIG(this.agentType);
  }
  /** The tools of {@link config}: what to tell a model of them, and to call them. */
  get tools(): TurnTools {
    return (this.toolbox ??= new TurnTools(
      this.config,
      (name, effect) => this.runTool(name, effect),
      (name, input) => this.guard.permitTool(name, input),
    ));
  }
  /**
   * A prompt of {@link config}, filled in.
   * @throws {ByError} NOT_FOUND if there is no such prompt, INVALID_INPUT if a variable has neither value nor default.
   */
  prompt(name: string, variables?: PromptVariables): string {
    return this.config.prompt(name, variables);
  }

  /** Say a piece of the answer. Empty text is not sent. */
  async emitChunk(content: string, options: Omit<Chunk, 'content'> = {}): Promise<void> {
    if (content !== '') await this.emit(chunkEvent(this.emitter, {...options, content}));
  }

  /** Say a piece of the reasoning. */
  async emitReasoning(content: string): Promise<void> {
    await this.emitChunk(content, {eventType: 'reasoningLogDelta'});
  }

  /** Say in a few words what is going on. */
  emitState(state: string, metadata: Record<string, unknown> = {}): Promise<void> {
    return this.emit(stateEvent(this.emitter, {state, metadata}));
  }

  /** Show something that was made. */
  emitArtifact(url: string, metadata: Record<string, unknown> = {}): Promise<void> {
    return this.emit(artifactEvent(this.emitter, {url, metadata}));
  }

  /** An event that is none of the others, given whole. */
  emitEvent(event: RawEvent): Promise<void> {
    return this.emit(rawEvent(this.emitter, event));
  }

  /**
   * Call a model, and let the tracer know: a span with the names of OpenTelemetry's conventions for generative AI. `run` is
   * told nothing of it but a function for what the call took. Without a tracer `run` is only run. In a durable agent, call
   * models inside of `ctx.step`.
   */
  modelCall<T>(call: ModelCall, run: (usage: (usage: ModelUsage) => void) => Promise<T>): Promise<T> {
    return this.facts.trace.model(call, run);
  }

  /** As {@link modelCall}, for a call that is over. */
  recordTokenUsage(call: ModelCall & ModelUsage): void {
    this.facts.trace.usage(call);
  }

  /** The run this execution belongs to, in every turn of it; undefined for one that was sent without (`by send`). */
  get run(): RunMeta | undefined {
    return runMetaOf(this.metadata) ?? runMetaOf({by_run: this.facts.keptRun});
  }
  /** {@link run}, or null. */
  get runMeta(): RunMeta | null {
    return this.run ?? null;
  }
  /** Of the run's session: the attempt of a higher one has taken the place of this. null without a run. */
  get fence(): number | null {
    return this.run?.fence ?? null;
  }

  /**
   * What was said to the run since it began, or since this was asked last (`by run input --mode steer`): take it up where your agent can,
   * between calls of tools and models. Whoever never asks gets it as the next turn. In a durable agent it is a step.
   * @returns the messages, oldest first; none without a run.
   */
  async steered(): Promise<string[]> {
    const {run} = this;
    if (run === undefined) return [];
    const by = `${this.executionId}@${this.attempt}#${this.steerings++}`;
    return this.takeSteered(run, by);
  }

  protected async takeSteered({workspace, attemptId}: RunMeta, by: string): Promise<string[]> {
    const taken = await takeSteered(openRunWorkspace(this.facts.store, workspace), attemptId, by);
    return taken.map(({message}) => message);
  }

  /**
   * Do something under the policy of the run: at once, after a person allowed it, or not at all. Tools of {@link tools} are
   * guarded already. In a durable agent, inside of `ctx.step`.
   * @param args what the person is asked about is bound to exactly these.
   * @throws {ByError} TOOL_DENIED, APPROVAL_DENIED, APPROVAL_EXPIRED; what `effect` throws.
   */
  guardTool<T>(name: string, args: unknown, effect: () => Promise<T>): Promise<T> {
    return this.guard.call(name, args, effect);
  }
  /**
   * Run a program in {@link workspace}, with no more than the policy of the run allows and, as far as this machine can, held
   * to it: `enforced` of the result says how far. Without a run, with what `options` leaves it. Its environment is
   * only what is given.
   * @throws {ByError} NOT_FOUND, INVALID_INPUT, TOOL_DENIED, APPROVAL_DENIED, APPROVAL_EXPIRED, APPROVAL_SUBJECT_CHANGED,
   *   POLICY_UNENFORCEABLE; the signal's reason.
   */
  spawnSandboxed(argv: readonly string[], options?: SpawnOptions): Promise<SpawnResult> {
    return this.guard.spawn(argv, options);
  }
  /**
   * Say that a quota of this worker is used up. When this returns, the worker has stopped reading: it finishes what it runs,
   * and takes nothing for its agent types until the quota is there again, also after a restart. Routers send its work to
   * others meanwhile, or refuse it with the time left. This execution goes on; one that throws is tried again, by another
   * worker if there is one. In a durable agent, call it inside of `ctx.step`.
   */
  reportExhausted(report: ExhaustReport): Promise<void> {
    return this.facts.reportExhausted(report);
  }

  /** Stop here if the execution was cancelled. @throws the signal's reason. */
  checkCancelled(): void {
    this.signal.throwIfAborted();
  }

  /** @throws {ByError} TOOL_DENIED if the policy of the run lets nobody be asked. */
  protected checkMayAsk(): void {
    if (this.run?.policy.interactive !== false) return;
    throw new ByError('TOOL_DENIED', 'The policy of this run lets its agent ask no person.', {
      hint: 'Do without the answer, or submit the task without `--no-interactive` (`interactive: false`).',
      details: {tool: 'ask_user', interactive: false},
    });
  }

  private get guard(): ToolGuard {
    return (this.guarding ??= this.makeGuard());
  }

  private makeGuard(): ToolGuard {
    const {run, agentType, sessionId, workerId, signal} = this;
    return new ToolGuard({
      ...{agentType, sessionId, workerId, signal},
      abilities: machineAbilities,
      folder: () => this.workspace.path,
      run: run && {...run, workspace: openRunWorkspace(this.facts.store, run.workspace)},
      turn: turnOf(this),
      asked: approval => this.showApproval(approval),
    });
  }

  /** As a question, so that every front end shows it; what is answered to it decides (approval-answer.ts). */
  private async showApproval(approval: Approval): Promise<void> {
    const {run} = this;
    const {approvalId, summary, expiresAt, createdAt} = approval;
    const {prompt, choices} = approvalQuestion(approval);
    // Before anybody can answer.
    if (run !== undefined)
      await noteAskedBy(
        this.facts.store,
        {sessionId: this.sessionId, messageId: this.facts.messageId},
        {workspace: run.workspace, runId: run.runId, turn: turnOf(this)},
      );
    await this.emitState(`waits for approval: ${summary}`, {by_approval: approvalId});
    const metadata = {
      ...{by_approval: approvalId, by_question: approvalId, by_choices: choices},
      by_answer_within_ms: expiresAt - createdAt,
    };
    await this.emit(askUserEvent(this.emitter, {prompt, metadata}));
  }

  protected emit(event: DataEvent): Promise<void> {
    this.facts.history.hear(event);
    return this.writer.emit(event);
  }

  protected runTool(_name: string, effect: (ctx: ToolContext) => Promise<unknown>): Promise<unknown> {
    return effect(this.toolContext(this.signal));
  }

  protected toolContext(signal: AbortSignal): ToolContext {
    const {agentType, sessionId, executionId, attempt, userCode, log} = this;
    return {agentType, sessionId, executionId, attempt, userCode, log, signal};
  }
}

const turnOf = ({executionId, attempt}: Pick<ContextFacts, 'executionId' | 'attempt'>): string =>
  `${executionId}@${attempt}`;

/** What a message agent holds. */
export class AgentContext extends TurnContext {
  constructor(
    facts: ContextFacts,
    writer: EventWriter,
    private readonly calls: TurnCalls,
    scope?: EventScope,
  ) {
    super(facts, writer, scope);
  }

  /**
   * Ask the person. Return what this returns from the handler: the turn ends, and the answer comes as a RESUME.
   * @throws {ByError} TOOL_DENIED if the policy of the run says `interactive: false`.
   */
  async askUser(prompt: string, metadata: Record<string, unknown> = {}): Promise<{status: 'WAITING_USER'}> {
    this.checkMayAsk();
    const named = {...metadata, by_question: turnQuestionId(this.executionId, this.attempt)};
    await this.emit(askUserEvent(this.emitter, {prompt, metadata: named}));
    this.calls.askedUser();
    return {status: 'WAITING_USER'};
  }

  /**
   * Call another agent. Returns at once, with what the SDKs return: QUEUED, or FAILED with `error` and `error_code` if
   * nobody takes it. Return that, or nothing, from the handler: the turn ends, and the answer comes as a RESUME whose
   * `parentMessageId` is the call's `message_id`. With `waitForReply: false` the callee answers the person in this
   * agent's place.
   * @throws {ByError} INVALID_INPUT, MESSAGE_TOO_LARGE; PARENT_CANCELLED if this execution was cancelled, FENCED if
   *   another attempt owns it.
   */
  callAgent(call: AgentCall): Promise<CallReceipt> {
    return this.calls.call(call);
  }

  /**
   * Call several agents at once, all or none; nobody has to be online. Return what this returns, or nothing, from the
   * handler: the turn ends, and when the group's policy is met one RESUME comes, whose `taskGroupId` is the group's.
   * {@link collectGroupResults} has the answers.
   * @throws {ByError} as {@link callAgent}, and QUEUE_FULL.
   */
  dispatchGroup(tasks: readonly GroupTask[], options: GroupOptions = {}): Promise<GroupReceipt> {
    return this.calls.group(tasks, options);
  }

  /**
   * The answers of a group in the order of its calls, those of failed members too. In the turn that made the group it
   * waits for them, without a slot.
   * @param options.timeoutMs how long to wait for answers that are missing. Default 30,000; once the group's policy is
   *   met nothing is waited for.
   */
  collectGroupResults(
    taskGroupId: string = this.facts.header.taskGroupId,
    {timeoutMs}: {readonly timeoutMs?: number} = {},
  ): Promise<MemberResult[]> {
    return this.calls.collect(taskGroupId, timeoutMs);
  }

  /** A step with a title of its own: events of the returned context belong to it. */
  async subStep(title: string): Promise<AgentContext> {
    const scope = {messageId: newMessageId(), parentMessageId: this.messageId};
    const inner = new AgentContext(this.facts, this.writer, this.calls, scope);
    await inner.emitReasoning(title);
    return inner;
  }
}
