/** Worker processes that can be killed and stopped, and what a test sees of them. */
import {spawn} from 'node:child_process';
import {resolve} from 'node:path';
import {GatewayClient} from '../../src/client/client.js';
import {silentLogger} from '../../src/log.js';
import type {ExecutionRecord} from '../../src/protocol/execution.js';
import {eventKind} from '../../src/protocol/events.js';
import {findExecution} from '../../src/store/executions.js';
import {followSession} from '../../src/store/data-streams.js';
import type {Store} from '../../src/store/store.js';
import {defineAgent} from '../../src/worker/agent.js';
import type {DurableContext} from '../../src/worker/durable/context.js';
import {startWorker, type WorkerHandle, type WorkerOptions} from '../../src/worker/runner.js';
import {skewedClock} from '../support/skewed-clock.js';
import {until, type TestStore} from '../support/stores.js';

/** Short, so that a test need not wait long; long enough for a busy machine. */
export const LEASE_MS = 1500;
export const TYPE = 'writer';
/** What worker processes run. */
export const AGENTS_FILE = resolve(import.meta.dirname, 'agents.mjs');

export interface WorkerProcess {
  readonly pid: number;
  /** Everything it said, a line a thing; see worker.mjs. */
  readonly said: readonly string[];
  has(line: string): boolean;
  kill(signal: NodeJS.Signals): void;
  readonly exit: Promise<number | null>;
}

/** Start a worker in a process of its own, and wait until it is online. */
export async function spawnWorker(
  at: TestStore,
  store: Store,
  worker: Partial<WorkerOptions> = {},
  {
    dieBefore,
    url,
    skewMs = 0,
    history,
  }: {
    readonly dieBefore?: string;
    readonly url?: string;
    /** How far its clock is ahead of everybody else's; negative if behind. */
    readonly skewMs?: number;
    /** Where it keeps history: `redis`, or the address of a PostgreSQL database. Default: its memory. */
    readonly history?: string;
  } = {},
): Promise<WorkerProcess> {
  const options = {
    store: {url: url ?? at.url('worker'), prefix: store.keys.prefix, keySchema: store.keys.schema},
    worker: {leaseMs: LEASE_MS, ...worker},
    ...(dieBefore === undefined ? {} : {dieBefore}),
    ...(history === undefined ? {} : {history}),
  };
  const child = spawn(
    process.execPath,
    [...skewedClock(skewMs), resolve(import.meta.dirname, 'worker.mjs'), JSON.stringify(options)],
    {
      stdio: ['ignore', 'pipe', process.env['BY_FAULT_LOG'] === undefined ? 'ignore' : 'inherit'],
    },
  );
  const exit = new Promise<number | null>(done => child.once('close', done));
  at.breaksRules('dead-workers');
  at.cleanup(async () => {
    child.kill('SIGKILL');
    await exit;
  });
  let text = '';
  child.stdout.setEncoding('utf8').on('data', (part: string) => (text += part));
  const one: WorkerProcess = {
    pid: child.pid ?? 0,
    get said() {
      return text.split('\n').filter(line => line !== '');
    },
    has: line => one.said.includes(line),
    kill: signal => void child.kill(signal),
    exit,
  };
  await until(() => one.has('online') || child.exitCode !== null || child.signalCode !== null);
  return one;
}

/** A worker in this process, with an agent of the test's. */
export async function work(
  at: TestStore,
  store: Store,
  run: (ctx: DurableContext, text: string) => unknown,
  options: Partial<WorkerOptions> & {readonly retry?: Parameters<typeof defineAgent>[0]['retry']} = {},
): Promise<WorkerHandle> {
  const {retry, ...rest} = options;
  const agent = defineAgent({
    type: TYPE,
    run: (ctx, ask) => run(ctx, ask.text),
    ...(retry === undefined ? {} : {retry}),
  });
  const worker = await startWorker(store, {
    ...{agents: [agent], log: silentLogger, leaseMs: LEASE_MS},
    ...rest,
  });
  at.cleanup(() => worker.stop({drainMs: 0}));
  return worker;
}

export const send = (store: Store, content: string, messageId?: string) =>
  new GatewayClient(store).send({
    ...{agentType: TYPE, content, policy: 'SEND_ANYWAY'},
    ...(messageId === undefined ? {} : {messageId}),
  });

interface Sent {
  readonly sessionId: string;
  readonly executionId: string;
}

export const recordOf = async (store: Store, {sessionId, executionId}: Sent): Promise<ExecutionRecord> => {
  const record = await findExecution(store, sessionId, executionId);
  if (record === undefined) throw new Error(`no record of ${executionId}`);
  return record;
};

/** The record once it has this status. */
export const withStatus = (store: Store, sent: Sent, status: string): Promise<ExecutionRecord> =>
  until(async () => {
    const record = await recordOf(store, sent);
    return record.status === status && record;
  });

/** The kinds of a session's events, in order. */
export async function eventKinds(store: Store, sessionId: string): Promise<string[]> {
  const kinds: string[] = [];
  for await (const item of followSession(store, sessionId, {untilCaughtUp: true}))
    kinds.push(item.kind === 'event' ? eventKind(item.event) : item.kind);
  return kinds;
}

/** Resolves when nothing waits, nothing is pending, and no dead consumer is left on the agent type's stream. */
export async function settled(at: TestStore, store: Store): Promise<void> {
  const redis = at.redis();
  const stream = store.keys.ctrlStream(TYPE);
  await until(async () => (await redis.xlen(stream)) === 0);
  await until(async () => (await redis.xpending(stream, 'agent_engines'))[0] === 0);
}

export const deadLetters = async (at: TestStore, store: Store): Promise<Record<string, unknown>[]> =>
  (await at.redis().xrange(store.keys.deadletter(), '-', '+')).map(
    ([, fields]) => JSON.parse(fields[1] ?? '') as Record<string, unknown>,
  );
