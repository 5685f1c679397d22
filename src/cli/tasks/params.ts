/** From the flags of `by task submit` to the request. */
import {serverNowMs} from '../../store/store.js';
import {readFile} from 'node:fs/promises';
import {ByError, messageOf} from '../../errors.js';
import {resolveId} from '../../orchestration/find.js';
import {lookAtRun} from '../../orchestration/read.js';
import {readQueueMode, type AgentCommandParams} from '../../protocol/orchestration/command.js';
import {isOrchestrationId} from '../../protocol/orchestration/ids.js';
import type {Priority} from '../../protocol/orchestration/states.js';
import {openWorkspace} from '../../store/orchestration.js';
import type {Store} from '../../store/store.js';
import {requirePolicy} from '../send-input.js';
import {momentOf} from './flags.js';
import {policyOf, type PolicyFlags} from './policy-flags.js';

export interface SubmitFlags extends PolicyFlags {
  readonly agent: string;
  readonly workspace: string;
  readonly priority: Priority;
  readonly slot: 'work' | 'on_call';
  readonly session?: string | undefined;
  readonly 'session-key'?: string | undefined;
  readonly mode: string;
  readonly lane?: string | undefined;
  readonly delay?: number | undefined;
  readonly at?: string | undefined;
  readonly expires?: number | undefined;
  readonly 'attempt-timeout': number;
  readonly route?: string | undefined;
  readonly attach?: readonly string[] | undefined;
  readonly label?: string | undefined;
  readonly 'spawned-by'?: string | undefined;
  readonly system?: string | undefined;
  readonly 'retry-of'?: string | undefined;
  readonly 'idempotency-key'?: string | undefined;
}

/** @throws {ByError} USAGE, INVALID_INPUT; RUN_NOT_FOUND for --retry-of. */
export async function paramsOf(
  store: Store,
  argument: string,
  flags: SubmitFlags,
  readStdin: (what: string) => Promise<string>,
): Promise<AgentCommandParams> {
  const workspace = openWorkspace(store, flags.workspace);
  const said = await textOf(argument, 'The message', readStdin);
  const earlier = flags['retry-of'] === undefined ? undefined : await taskOf(workspace, flags['retry-of']);
  const message = said === '' && earlier !== undefined ? earlier.message : said;
  const policy = (await policyOf(flags)) ?? earlier?.policy;
  const needsClock = flags.delay !== undefined || flags.at !== undefined || flags.expires !== undefined;
  const nowMs = needsClock ? await serverNowMs(workspace.store) : 0;
  const notBeforeAt =
    flags.at !== undefined
      ? momentOf(flags.at, nowMs)
      : flags.delay === undefined
        ? undefined
        : nowMs + flags.delay;
  const {agent, route, system} = flags;
  const params: AgentCommandParams = {
    message,
    ...(isOrchestrationId('agent', agent) ? {agentId: agent} : {agentType: agent}),
    sessionId: flags.session ?? earlier?.sessionId,
    sessionKey: flags['session-key'],
    lane: flags.lane,
    queueMode: readQueueMode(flags.mode),
    ...{priority: flags.priority, slotType: flags.slot, timeoutMs: flags['attempt-timeout']},
    notBeforeAt,
    expiresAt: flags.expires === undefined ? undefined : (notBeforeAt ?? nowMs) + flags.expires,
    routePolicy: route === undefined ? undefined : requirePolicy(route),
    attachments: flags.attach?.map(ref => ({ref})),
    label: flags.label,
    spawnedBy: flags['spawned-by'],
    extraSystemPrompt:
      system === undefined ? undefined : await textOf(system, 'The system prompt', readStdin),
    idempotencyKey: flags['idempotency-key'],
    policy,
  };
  return withoutBlanks(params);
}

const withoutBlanks = <T extends object>(params: T): T => JSON.parse(JSON.stringify(params)) as T;

async function taskOf(workspace: Parameters<typeof resolveId>[0], run: string) {
  return (await lookAtRun(workspace, await resolveId(workspace, 'run', run))).task;
}

/** The text itself, `@FILE`, or `-`. */
export async function textOf(
  argument: string,
  what: string,
  readStdin: (what: string) => Promise<string>,
): Promise<string> {
  if (argument === '-') return readStdin(what);
  if (!argument.startsWith('@')) return argument;
  try {
    return await readFile(argument.slice(1), 'utf8');
  } catch (cause) {
    throw new ByError('INVALID_INPUT', `${what} can not be read: ${messageOf(cause)}`, {
      hint: 'Name a file after @. A text that begins with @ can come from standard input.',
      cause,
    });
  }
}
