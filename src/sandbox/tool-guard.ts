/**
 * Holds what an agent does to the policy of its run: a call of a tool, or the start of a program, is run, refused, or
 * waits for a person (orchestration.md §10.3). Without a run nothing holds it back but what the agent itself asks for.
 */
import {sleep} from '../clock.js';
import {ByError} from '../errors.js';
import type {SandboxAbilities} from '../protocol/orchestration/abilities.js';
import type {Approval} from '../protocol/orchestration/approval.js';
import {APPROVAL_MS} from '../protocol/orchestration/approval.js';
import type {RunExecutionPolicy} from '../protocol/orchestration/policy.js';
import {allowedPatterns, askApproval, readApproval, settleApproval} from '../store/approvals.js';
import type {Workspace} from '../store/orchestration.js';
import {
  allowPattern,
  argsHash,
  isAllowed,
  judgeToolCall,
  resolveProgram,
  subjectHash,
  type ToolSubject,
} from './allowlist.js';
import {machineCgroups} from './cgroups.js';
import type {WorkspaceAccess} from './command-line.js';
import {PROGRAM_PATH, runSandboxed, type RunResult} from './run.js';

/** The run a turn belongs to. */
export interface GuardedRun {
  readonly workspace: Workspace;
  readonly policy: RunExecutionPolicy;
  readonly taskId: string;
  readonly runId: string;
  readonly attemptId: string;
}

export interface GuardFacts {
  readonly agentType: string;
  readonly sessionId: string;
  readonly workerId: string;
  readonly signal: AbortSignal;
  /** Of the worker's machine. */
  readonly abilities: () => Promise<SandboxAbilities>;
  /** Undefined: the command came without a run. */
  readonly run: GuardedRun | undefined;
  /** `{execution}@{attempt}`. */
  readonly turn: string;
  /** The folder programs work in; made when it is asked for. */
  readonly folder: () => string;
  /** Told that a person is asked, and again after an answer that was no decision. */
  readonly asked: (approval: Approval) => Promise<void>;
  /** How long a person has. Default 30 minutes. */
  readonly approvalMs?: number;
}

export interface SpawnOptions {
  /** All the program is given of an environment, beside PATH, HOME and LANG. */
  readonly env?: Readonly<Record<string, string>>;
  readonly stdin?: string;
  /** Milliseconds, from 1. Default 60,000. */
  readonly timeoutMs?: number;
  /** Bytes kept of stdout and of stderr. Default 1 MiB. */
  readonly maxOutputBytes?: number;
  /** Less than the policy allows; more is not given. */
  readonly network?: false;
  readonly workspaceAccess?: WorkspaceAccess;
}

export interface SpawnResult extends RunResult {
  /** What the machine held the program to; what is false here was asked of it and nothing more. */
  readonly enforced: {readonly network: boolean; readonly workspace: boolean; readonly resources: boolean};
}

const DEFAULT_TIMEOUT_MS = 60_000;
const DEFAULT_OUTPUT_BYTES = 1024 * 1024;
const LOOK_EVERY_MS = 500;
/** Processes and threads a program may have at once, where that can be limited: many builds need hundreds. */
const MOST_PROCESSES = 1024;
const ACCESS: readonly WorkspaceAccess[] = ['none', 'ro', 'rw'];

export class ToolGuard {
  constructor(private readonly facts: GuardFacts) {}

  /**
   * Call a tool, if the policy lets it.
   * @throws {ByError} TOOL_DENIED, APPROVAL_DENIED, APPROVAL_EXPIRED; what the tool throws.
   */
  async call<T>(name: string, args: unknown, effect: () => Promise<T>): Promise<T> {
    await this.permitTool(name, args);
    return effect();
  }

  /** As {@link call}, for what calls the tool itself. */
  async permitTool(name: string, args: unknown): Promise<void> {
    if (this.facts.run !== undefined) await this.permit({tool: name, argsHash: argsHash(args)}, name);
  }

  /**
   * Run a program in the sandbox of the policy.
   * @throws {ByError} NOT_FOUND if there is no such program; INVALID_INPUT; TOOL_DENIED, APPROVAL_DENIED,
   *   APPROVAL_EXPIRED, APPROVAL_SUBJECT_CHANGED; POLICY_UNENFORCEABLE if the policy requires what the machine has not got.
   */
  async spawn(argv: readonly string[], options: SpawnOptions = {}): Promise<SpawnResult> {
    const {signal, run} = this.facts;
    const abilities = await this.facts.abilities();
    const {env = {}, timeoutMs = DEFAULT_TIMEOUT_MS, maxOutputBytes = DEFAULT_OUTPUT_BYTES} = options;
    const folder = this.facts.folder();
    const subject = await this.subjectOf(argv, folder, env);
    const network = options.network ?? run?.policy.networkEnabled ?? true;
    const access = lesser(options.workspaceAccess, run?.policy.workspaceAccess);
    const {memoryBytes, cpuMillicores, gpuCount = 0} = run?.policy.resources ?? {};
    const asksNothing = memoryBytes === undefined && cpuMillicores === undefined && gpuCount === 0;
    const enforced = {
      network: network || abilities.network,
      workspace: access === 'rw' || abilities.workspace,
      resources: asksNothing || (abilities.resources && gpuCount === 0),
    };
    this.refuseUnenforced(enforced);
    await this.permit(subject, (subject.argv ?? []).join(' '));
    // What was allowed is this file; meanwhile the name may have come to mean another.
    const again = await this.subjectOf(argv, folder, env);
    if (subjectHash(again, this.facts) !== subjectHash(subject, this.facts)) {
      throw new ByError('APPROVAL_SUBJECT_CHANGED', `"${argv[0] ?? ''}" is another program now.`, {
        hint: 'Ask again for what it is now.',
      });
    }
    const cgroups = abilities.resources ? await machineCgroups() : undefined;
    // For all its processes together where that can be, else for each of them.
    const limited =
      cgroups !== undefined
        ? {together: {cgroups, limits: {memoryBytes, cpuMillicores, processes: MOST_PROCESSES}}}
        : memoryBytes === undefined || !abilities.limits
          ? {}
          : {limits: {memoryBytes}};
    const result = await runSandboxed({
      ...{isolation: abilities.isolation, network, access, workspace: folder, argv: subject.argv ?? []},
      ...{env, timeoutMs, maxOutputBytes, signal},
      ...(options.stdin === undefined ? {} : {stdin: options.stdin}),
      ...limited,
    });
    return {...result, enforced};
  }

  private async subjectOf(
    argv: readonly string[],
    cwd: string,
    env: Readonly<Record<string, string>>,
  ): Promise<ToolSubject> {
    const [name = '', ...args] = argv;
    if (name === '' || argv.some(word => word.includes('\0'))) {
      throw new ByError('INVALID_INPUT', 'This is no program with its arguments.', {
        hint: 'Give the program first, then its arguments, each a text of its own.',
      });
    }
    const program = await resolveProgram(name, cwd, PROGRAM_PATH);
    return {tool: 'exec', argv: [program, ...args], cwd, envKeys: Object.keys(env).sort()};
  }

  private refuseUnenforced(enforced: SpawnResult['enforced']): void {
    const required = this.facts.run?.policy.requireEnforcement ?? [];
    const missing = [
      ...(required.includes('network_enabled') && !enforced.network ? ['network_enabled'] : []),
      ...(required.includes('workspace_access') && !enforced.workspace ? ['workspace_access'] : []),
      ...(required.includes('resources') && !enforced.resources ? ['resources'] : []),
    ];
    if (missing.length === 0) return;
    throw new ByError('POLICY_UNENFORCEABLE', `This worker can not enforce ${missing.join(' and ')}.`, {
      hint: 'Let it run where bubblewrap is installed and groups of the kernel may be made: docs/policies.md.',
      details: {fields: missing, workerId: this.facts.workerId},
    });
  }

  private async permit(subject: ToolSubject, what: string): Promise<void> {
    const {run, agentType} = this.facts;
    if (run === undefined) return;
    const {security} = run.policy;
    const isListed =
      security === 'allowlist' &&
      isAllowed(
        subject,
        (await allowedPatterns(run.workspace, agentType)).map(({pattern}) => pattern),
      );
    switch (judgeToolCall(run.policy, isListed)) {
      case 'run':
        return;
      case 'deny':
        throw new ByError('TOOL_DENIED', `The policy of this run does not allow "${what.slice(0, 200)}".`, {
          hint:
            security === 'deny'
              ? 'Its policy has security "deny": no tool may be used.'
              : `Put it on the allowlist (\`by run allowlist add ${agentType} …\`), or let the run ask: --ask on-miss.`,
          details: {tool: subject.tool, security},
        });
      case 'ask':
        await this.ask(run, subject, what);
    }
  }

  private async ask(run: GuardedRun, subject: ToolSubject, what: string): Promise<void> {
    const {agentType, sessionId, workerId, turn, signal, approvalMs = APPROVAL_MS} = this.facts;
    const {taskId, runId, attemptId, workspace, policy} = run;
    const always = allowPattern(subject);
    const {tool, argv, cwd, envKeys} = subject;
    const approval = await askApproval(
      workspace,
      {
        ...{kind: 'tool', runId, taskId, attemptId, agentType, sessionId, workerId, turn, tool},
        ...(argv === undefined ? {} : {argv: [...argv]}),
        ...(cwd === undefined ? {} : {cwd}),
        ...(envKeys === undefined ? {} : {envKeys: [...envKeys]}),
        ...('pattern' in always ? {pattern: always.pattern} : {}),
        ...{subjectHash: subjectHash(subject, this.facts), summary: what.slice(0, 500)},
      },
      approvalMs,
    );
    await this.facts.asked(approval);
    const endsAt = performance.now() + approvalMs;
    let unclear: string | undefined;
    for (;;) {
      await sleep(LOOK_EVERY_MS, signal);
      if (signal.aborted) {
        await settleApproval(workspace, approval.approvalId, {state: 'cancelled'});
        signal.throwIfAborted();
      }
      const now =
        performance.now() >= endsAt
          ? (await settleApproval(workspace, approval.approvalId, {state: 'expired'}))?.approval
          : await readApproval(workspace, approval.approvalId);
      const state = now?.state;
      if (now !== undefined && state === 'pending') {
        if (now.unclear !== unclear) await this.facts.asked(now);
        unclear = now.unclear;
        continue;
      }
      if (state === 'allowed_once' || state === 'allowed_always') return;
      if (state !== 'denied' && policy.askFallback === 'allow') return;
      throw new ByError(
        state === 'denied' ? 'APPROVAL_DENIED' : 'APPROVAL_EXPIRED',
        state === 'denied' ? `A person refused "${what.slice(0, 200)}".` : 'Nobody decided in time.',
        {
          hint:
            state === 'denied'
              ? 'Do without it.'
              : 'Ask again when somebody is there, or let the policy fall back to allow.',
          details: {approvalId: approval.approvalId},
        },
      );
    }
  }
}

/** The smaller of what is asked for and what may be had; all, if nobody says. */
function lesser(asked: WorkspaceAccess | undefined, allowed: WorkspaceAccess | undefined): WorkspaceAccess {
  const level = Math.min(...[asked, allowed].map(access => ACCESS.indexOf(access ?? 'rw')));
  return ACCESS[level] ?? 'none';
}
