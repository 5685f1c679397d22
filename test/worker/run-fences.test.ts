/** A worker and the fence of the run it works on: it shows that it is there, and gives way to the attempt that took its place. */
import {expect, test} from 'vitest';
import {send} from '../../src/availability/send.js';
import {orchestratorDeps} from '../../src/orchestration/deps.js';
import {dispatchPass} from '../../src/orchestration/dispatch.js';
import {projectPass} from '../../src/orchestration/project.js';
import {acceptTask} from '../../src/orchestration/submit.js';
import {extractLeaseExecutionID} from '../../src/protocol/orchestration/attempt.js';
import {findExecution} from '../../src/store/executions.js';
import {lookAt} from '../../src/store/orchestration.js';
import {renewSessionLease} from '../../src/store/session-leases.js';
import type {Store} from '../../src/store/store.js';
import {defineAgent, GatewayWorker, type Agent} from '../../src/worker/agent.js';
import type {AgentContext} from '../../src/worker/context.js';
import {describeEachStore, until, type TestStore} from '../support/stores.js';
import {times, work, workspaceOf} from '../orchestration/support.js';

const W = 'default';

class Holder extends GatewayWorker {
  constructor(private readonly hold: (ctx: AgentContext) => unknown) {
    super();
  }
  getAgentTypes() {
    return ['holds'];
  }
  processCommand(_: unknown, ctx: AgentContext) {
    return this.hold(ctx);
  }
}

/** An agent that works until it is stopped, written each way. */
function holding() {
  const begun: (number | null)[] = [];
  const stopped: string[] = [];
  const hold = async (ctx: {
    readonly signal: AbortSignal;
    readonly fence: number | null;
    readonly runMeta: object | null;
  }) => {
    begun.push(ctx.fence);
    expect(ctx.runMeta === null).toBe(ctx.fence === null);
    await new Promise<void>(resolve => ctx.signal.addEventListener('abort', () => resolve()));
    stopped.push((ctx.signal.reason as Error).message);
    ctx.signal.throwIfAborted();
    return {content: 'never'};
  };
  const agents: Record<string, Agent> = {
    durable: defineAgent({type: 'holds', run: ctx => hold(ctx)}),
    message: new Holder(hold),
  };
  return {begun, stopped, agents};
}

const leaseOf = async (store: Store, sessionId: string) => {
  const key = workspaceOf(store).keys.orchLease(W, sessionId);
  return store.commands.run(redis => redis.hgetall(key));
};

/** As if a session had been given to another attempt. */
const supersede = (store: Store, sessionId: string, fence: number) => {
  const key = workspaceOf(store).keys.orchLease(W, sessionId);
  return store.commands.run(redis => redis.hset(key, 'attempt_id', 'att_other', 'fence', String(fence)));
};

async function submitted(store: Store) {
  const deps = orchestratorDeps(workspaceOf(store));
  const {task, runId} = await acceptTask(deps.workspace, {
    ...{agentType: 'holds', message: 'go', routePolicy: 'SEND_ANYWAY'},
  });
  await dispatchPass(deps);
  const {attempt} = (await lookAt(deps.workspace, 'run', runId))!;
  return {deps, task, runId, attempt: attempt!};
}

const statusOf = async (store: Store, sessionId: string, executionId: string) =>
  (await findExecution(store, sessionId, executionId))?.status;

async function open(at: TestStore, kind: 'durable' | 'message') {
  const store = at.open();
  const agent = holding();
  // One that was stopped in a hurry may not have given its id back.
  const options = {workerId: 'w:1', leaseMs: 3000, claimTimeoutMs: 20_000};
  const start = () => work(at, store, [agent.agents[kind]!], options);
  return {store, start, ...agent};
}

describeEachStore('a worker', at => {
  for (const kind of ['durable', 'message'] as const)
    test(`renews the lease of the session of its run, and ends when another has it (${kind})`, async () => {
      const {store, start, begun, stopped} = await open(at, kind);
      await start();
      const {deps, task, attempt} = await submitted(store);
      await until(() => begun.length === 1);
      const first = await leaseOf(store, task.sessionId);
      expect(first).toMatchObject({attempt_id: attempt.attemptId, fence: '1'});
      expect(first['owner']).toBe(`w:1:${attempt.executionId}`);
      expect(extractLeaseExecutionID(first['owner'] ?? '')).toBe(attempt.executionId);
      expect(begun).toEqual([1]);
      await until(async () => (await leaseOf(store, task.sessionId))['expires_at'] !== first['expires_at']);
      await projectPass(deps);
      const seen = await lookAt(deps.workspace, 'att', attempt.attemptId);
      expect(seen!.leaseUntilMs).toBeGreaterThan(seen!.nowMs);

      await supersede(store, task.sessionId, 2);
      await until(() => stopped.length === 1);
      expect(stopped[0]).toMatch(/^FENCE_STALE/);
      await until(async () => (await statusOf(store, task.sessionId, attempt.executionId)) === 'CANCELLED');
      // It has left the lease to whom it belongs.
      expect(await leaseOf(store, task.sessionId)).toMatchObject({attempt_id: 'att_other', fence: '2'});
    });

  for (const kind of ['durable', 'message'] as const)
    test(`does not begin what another attempt has taken the place of (${kind})`, async () => {
      const {store, start, begun} = await open(at, kind);
      // Known to the router, and gone before it read anything.
      const before = await start();
      await before.stop({drainMs: 0});
      const {deps, task, runId} = await (async () => {
        const late = orchestratorDeps(workspaceOf(store));
        const accepted = await acceptTask(late.workspace, {
          ...{agentType: 'holds', message: 'go', routePolicy: 'SEND_ANYWAY'},
        });
        await dispatchPass(late);
        return {deps: late, ...accepted};
      })();
      const {attempt} = (await lookAt(deps.workspace, 'run', runId))!;
      await supersede(store, task.sessionId, 7);
      await start();
      await until(async () => (await statusOf(store, task.sessionId, attempt!.executionId)) === 'CANCELLED');
      const record = await findExecution(store, task.sessionId, attempt!.executionId);
      expect(record?.cancelReason).toMatch(/^FENCE_STALE.*7$/);
      expect(begun).toEqual([]);
    });

  test('of a command without a run has no fence, and touches no lease', async () => {
    const {store, start, begun} = await open(at, 'message');
    await start();
    const request = {agentType: 'holds', content: 'go', policy: 'SEND_ANYWAY'} as const;
    const sent = await send({store, now: Date.now, interceptors: []}, request);
    await until(() => begun.length === 1);
    expect(begun).toEqual([null]);
    expect(await leaseOf(store, sent.sessionId)).toEqual({});
  });
});

describeEachStore('the lease of a session', at => {
  test('is renewed by its holder alone, and its fence is never lowered', async () => {
    const store = at.open();
    const ws = workspaceOf(store);
    const key = ws.keys.orchLease(W, 's');
    const renew = (attemptId: string, fence: number) =>
      renewSessionLease(
        ws,
        {sessionId: 's', attemptId, fence, workerId: 'w', executionId: `exec-${attemptId}`},
        1000,
      );
    expect(await renew('a', 1)).toEqual({kind: 'free'});
    expect(await leaseOf(store, 's')).toEqual({});
    await store.commands.run(redis => redis.hset(key, 'attempt_id', 'b', 'fence', '2'));
    const all = await times(20, i => renew(i % 2 ? 'a' : 'b', i % 2 ? 1 : 2));
    expect(all.filter((_, i) => i % 2).every(({kind}) => kind === 'superseded')).toBe(true);
    expect(all.filter((_, i) => !(i % 2)).every(({kind}) => kind === 'held')).toBe(true);
    expect(await leaseOf(store, 's')).toMatchObject({attempt_id: 'b', fence: '2', owner: 'w:exec-b'});
    // Let go: the fence stays, and shuts out who had a lower one.
    await store.commands.run(redis => redis.hdel(key, 'attempt_id', 'owner', 'expires_at'));
    expect([await renew('a', 1), await renew('b', 2)]).toEqual([
      {kind: 'superseded', fence: 2},
      {kind: 'free'},
    ]);
  });
});
