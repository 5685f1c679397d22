/** Message agents of a test, by their types, and what they did. */
import {GatewayClient} from '../../src/client/client.js';
import {silentLogger} from '../../src/log.js';
import {encodeCommand, type AskCommand, type ResumeCommand} from '../../src/protocol/commands.js';
import {eventKind, eventText} from '../../src/protocol/events.js';
import type {ExecutionRecord} from '../../src/protocol/execution.js';
import {createHeader, type Header} from '../../src/protocol/header.js';
import {followSession} from '../../src/store/data-streams.js';
import {sessionExecutions} from '../../src/store/executions.js';
import type {Store} from '../../src/store/store.js';
import {GatewayWorker} from '../../src/worker/agent.js';
import type {AgentContext} from '../../src/worker/context.js';
import {startWorker, type WorkerHandle, type WorkerOptions} from '../../src/worker/runner.js';
import {until, type TestStore} from '../support/stores.js';

export type Handle = (command: AskCommand | ResumeCommand, ctx: AgentContext) => unknown;

class Scripted extends GatewayWorker {
  constructor(
    private readonly type: string,
    private readonly handle: Handle,
  ) {
    super();
  }
  override getAgentTypes() {
    return [this.type];
  }
  override processCommand(command: AskCommand | ResumeCommand, ctx: AgentContext) {
    return this.handle(command, ctx);
  }
}

/** A worker for these agent types; stopped after the test. */
export async function workAs(
  at: TestStore,
  store: Store,
  handles: Readonly<Record<string, Handle>>,
  options: Partial<WorkerOptions> = {},
): Promise<WorkerHandle> {
  const agents = Object.entries(handles).map(([type, handle]) => new Scripted(type, handle));
  const worker = await startWorker(store, {agents, log: silentLogger, ...options});
  at.cleanup(() => worker.stop({drainMs: 0}));
  return worker;
}

export const send = (store: Store, agentType: string, options: object = {}) =>
  new GatewayClient(store).send({
    ...{agentType, content: 'go', sessionId: 's', policy: 'SEND_ANYWAY'},
    ...options,
  });

/** The one record of this agent type in the session. */
export async function ofType(store: Store, agentType: string): Promise<ExecutionRecord | undefined> {
  return (await sessionExecutions(store, 's')).find(record => record.targetAgentType === agentType);
}

/** Resolves with the record of this agent type once it has this status. */
export const untilStatus = (store: Store, agentType: string, status: string): Promise<ExecutionRecord> =>
  until(async () => {
    const record = await ofType(store, agentType);
    return record?.status === status && record;
  });

export const timeline = (record: ExecutionRecord): string[] => record.timeline.map(step => step.status);

/** Kind, text and agent type of the session's events. */
export async function eventsOf(store: Store): Promise<[string, string, string][]> {
  const events: [string, string, string][] = [];
  for await (const item of followSession(store, 's', {untilCaughtUp: true})) {
    if (item.kind === 'event')
      events.push([eventKind(item.event), eventText(item.event), item.event.sourceAgentType]);
  }
  return events;
}

/** Resolves when nothing waits and nothing is pending on the streams of these agent types. */
export async function drained(at: TestStore, store: Store, ...agentTypes: string[]): Promise<void> {
  const redis = at.redis();
  for (const type of agentTypes) {
    const stream = store.keys.ctrlStream(type);
    await until(async () => (await redis.xlen(stream)) === 0);
    await until(async () => (await redis.xpending(stream, 'agent_engines'))[0] === 0);
  }
}

/** A reply as an agent of some SDK writes it. */
export const replyOf = (header: Partial<Header>, content = '', status = 'COMPLETED'): string =>
  encodeCommand({
    action: 'RESUME',
    header: createHeader({sessionId: 's', traceId: 't', ...header}),
    ...{status, content, replyData: null, extraPayload: {}},
  });

export const put = (at: TestStore, store: Store, agentType: string, document: string) =>
  at.redis().xadd(store.keys.ctrlStream(agentType), '*', 'data', document);
