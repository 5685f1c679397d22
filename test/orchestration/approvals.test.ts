/** Policies on the way from a task to the worker: what asks, what waits, what is refused, what is never sent. */
import {describe, expect, test} from 'vitest';
import {AgentAPI} from '../../src/orchestration/api.js';
import {AgentService} from '../../src/orchestration/service.js';
import type {Approval} from '../../src/protocol/orchestration/approval.js';
import {eventKind, readEventEntry} from '../../src/protocol/events.js';
import type {AskCommand, ResumeCommand} from '../../src/protocol/commands.js';
import type {ByError} from '../../src/errors.js';
import {lookAt, type Work, type Workspace} from '../../src/store/orchestration.js';
import {eventsBefore} from '../../src/store/data-streams.js';
import {pendingApprovals} from '../../src/store/approvals.js';
import {defineAgent, GatewayWorker} from '../../src/worker/agent.js';
import type {AgentContext} from '../../src/worker/context.js';
import {describeEachStore, until, type TestStore} from '../support/stores.js';
import {PlainWorker} from './plain-worker.js';
import {ended, eventTypes, orchestrate, work, workspaceOf} from './support.js';

const guardedUntil = (mayEnd: () => boolean) =>
  defineAgent({
    type: 'writer',
    run: async ctx => {
      const {stdout} = await ctx.step('count', () => ctx.spawnSandboxed(['wc', '-c'], {stdin: 'four'}));
      await until(mayEnd);
      return {content: `counted ${stdout.trim()}`};
    },
  });
const guarded = guardedUntil(() => true);

function open(at: TestStore) {
  const store = at.open();
  const ws = workspaceOf(store);
  const api = new AgentAPI({runtime: new AgentService({store})});
  const submit = (agentType: string, policy: object) =>
    api.acceptAgentCommand('default', {agentType, message: 'go', policy});
  return {store, ws, api, submit, ...orchestrate(at, ws)};
}

const waiting = (ws: Workspace): Promise<Approval> =>
  until(async () => (await pendingApprovals(ws))[0] ?? false);
const interaction = async (ws: Workspace, runId: string) =>
  (await lookAt(ws, 'run', runId))?.run?.interaction.state;

describeEachStore('a run under a policy', at => {
  test('a call of our worker waits for a person, and the time of the attempt with it', async () => {
    const {store, ws, api, submit} = open(at);
    let isNoted = false;
    await work(at, store, [guardedUntil(() => isNoted)]);
    const {runId} = await submit('writer', {ask: 'on-miss'});
    const approval = await waiting(ws);
    expect(approval).toMatchObject({kind: 'tool', tool: 'exec', runId, agentType: 'writer'});
    await until(async () => (await interaction(ws, runId)) === 'waiting_for_approval');
    expect((await lookAt(ws, 'run', runId))?.task.status).toBe('waiting');
    await api.decideApproval('default', approval.approvalId, 'allow-once', 'maria');
    // Noted by whoever looks before the run ends.
    await until(async () => (await eventTypes(ws, runId)).includes('approval_decided'));
    isNoted = true;
    expect(await ended(ws, runId)).toMatchObject({run: {status: 'ok', result: {text: 'counted 4'}}});
    expect(await eventTypes(ws, runId)).toEqual([
      ...['accepted', 'dispatched', 'running', 'approval_requested', 'approval_decided', 'finished'],
    ]);
  });

  test('a person refuses the call: the run fails with that, and is not tried again', async () => {
    const {store, ws, api, submit} = open(at);
    await work(at, store, [guarded]);
    const {runId} = await submit('writer', {ask: 'on-miss'});
    const {approvalId} = await waiting(ws);
    await api.decideApproval('default', approvalId, 'deny', 'maria', 'not today');
    expect(await ended(ws, runId)).toMatchObject({run: {status: 'error', attemptCount: 1}});
    expect(await api.listApprovals('default', {runId})).toMatchObject([{state: 'denied', note: 'not today'}]);
  });

  test('what is not allowed fails; who allows nothing asks nobody', async () => {
    const {store, ws, submit} = open(at);
    await work(at, store, [guarded]);
    const {runId} = await submit('writer', {security: 'deny', retry: {maxAttempts: 1}});
    expect(await ended(ws, runId)).toMatchObject({run: {status: 'error'}});
    expect(await pendingApprovals(ws)).toEqual([]);
  });

  describe('that lets its agent ask no person', () => {
    const asks = defineAgent({
      type: 'asks',
      run: ctx => ctx.step('x', () => 1).then(() => ctx.askUser('Who?')),
    });
    const caller = new (class extends GatewayWorker {
      override getAgentTypes() {
        return ['caller'];
      }
      override async processCommand(command: AskCommand | ResumeCommand, ctx: AgentContext) {
        if (command.action === 'ASK_AGENT' && command.content === 'call')
          return ctx.callAgent({agentType: 'helper', content: 'hi'});
        const tool = await ctx
          .guardTool('search', {}, () => Promise.resolve(''))
          .catch((error: unknown) => (error as ByError).code);
        if (tool !== 'TOOL_DENIED') return {content: 'the tool was not held back'};
        return ctx.askUser('Who?');
      }
    })();
    const helper = defineAgent({type: 'helper', run: () => ({content: 'here'})});
    const session = async ({store}: Workspace, {sessionId}: Work['task']) =>
      (await eventsBefore(store, sessionId, '+', 500)).map(({data}) => eventKind(readEventEntry(data)));

    test.each([
      ['a durable agent', 'asks', 'go'],
      ['one that handles each command', 'caller', 'go'],
      ['one that asks when it goes on', 'caller', 'call'],
    ])('%s is refused, for good, before anything is said', async (_, agentType, message) => {
      const {store, ws, api} = open(at);
      await work(at, store, [asks, caller, helper]);
      const policy = {security: 'deny', interactive: false} as const;
      const {runId} = await api.acceptAgentCommand('default', {agentType, message, policy});
      const seen = await ended(ws, runId);
      expect(seen).toMatchObject({run: {status: 'error', attemptCount: 1, error: {code: 'TOOL_DENIED'}}});
      expect(seen.run?.error?.message).toContain('ask no person');
      expect(await session(ws, seen.task)).not.toContain('ask');
    });

    test.each([
      ['asks', 'go'],
      ['caller', 'call'],
    ])(
      'whose policy says nothing of it lets %s ask, and is over when it ends',
      async (agentType, message) => {
        const {store, ws, api} = open(at);
        await work(at, store, [asks, caller, helper]);
        const policy = {security: 'deny'} as const;
        const {runId} = await api.acceptAgentCommand('default', {agentType, message, policy});
        await until(async () => (await interaction(ws, runId)) === 'waiting_for_input');
        expect((await lookAt(ws, 'run', runId))?.task.policy.interactive).toBeUndefined();
        expect(await session(ws, (await lookAt(ws, 'run', runId))!.task)).toContain('ask');
        await api.cancelRun('default', runId);
        await ended(ws, runId);
      },
    );

    test('is that of the agent too, whatever a task says', async () => {
      const {store, ws, api} = open(at);
      await work(at, store, [asks]);
      const agent = await api.createAgent('default', {agentKey: 'asks', defaultPolicy: {interactive: false}});
      const {runId} = await api.acceptAgentCommand('default', {
        ...{agentId: agent.agentId, message: 'go', policy: {interactive: true}},
      });
      expect(await ended(ws, runId)).toMatchObject({run: {error: {code: 'TOOL_DENIED'}}});
    });
  });

  describe('before a worker that asks nobody', () => {
    const plain = async (store: ReturnType<TestStore['open']>) => {
      at.breaksRules('dead-workers', 'ctrlStream');
      return new PlainWorker(store, at.redis(), 'py-1', 'py').online();
    };

    test('the whole run is asked about; nothing is sent before that', async () => {
      const {store, ws, api, submit} = open(at);
      const worker = await plain(store);
      const {runId} = await submit('py', {ask: 'on-miss'});
      const approval = await waiting(ws);
      expect(approval).toMatchObject({kind: 'run', tool: 'py'});
      expect(approval.summary).toContain('individual tools are not controlled');
      await until(async () => (await interaction(ws, runId)) === 'waiting_for_approval');
      expect((await lookAt(ws, 'run', runId))?.attempt).toMatchObject({status: 'blocked', place: 'delayed'});
      expect(await at.redis().xlen(store.keys.ctrlStream('py'))).toBe(0);
      await expect(
        api.decideApproval('default', approval.approvalId, 'allow-always', 'maria'),
      ).rejects.toMatchObject({code: 'INVALID_INPUT'});
      await api.decideApproval('default', approval.approvalId, 'allow-once', 'maria');
      const taken = await worker.take();
      await worker.answer(taken, 'done');
      await worker.write(taken, {status: 'COMPLETED'});
      await worker.done(taken);
      expect(await ended(ws, runId)).toMatchObject({run: {status: 'ok', attemptCount: 1}});
      expect((await pendingApprovals(ws)).length).toBe(0);
    });

    test('a person refuses it: it ends, and was never sent', async () => {
      const {store, ws, api, submit} = open(at);
      await plain(store);
      const {runId} = await submit('py', {ask: 'always'});
      const {approvalId} = await waiting(ws);
      await until(async () => (await lookAt(ws, 'run', runId))?.attempt?.status === 'blocked');
      await api.decideApproval('default', approvalId, 'deny', 'maria');
      expect(await ended(ws, runId)).toMatchObject({
        run: {status: 'error', error: {code: 'APPROVAL_DENIED', class: 'policy'}},
      });
      expect(await at.redis().xlen(store.keys.ctrlStream('py'))).toBe(0);
    });

    test('it is cancelled while it waits', async () => {
      const {store, ws, api, submit} = open(at);
      await plain(store);
      const {runId} = await submit('py', {ask: 'always'});
      const {approvalId} = await waiting(ws);
      await until(async () => (await lookAt(ws, 'run', runId))?.attempt?.status === 'blocked');
      await api.cancelRun('default', runId);
      expect(await ended(ws, runId)).toMatchObject({run: {status: 'cancelled'}});
      await api.decideApproval('default', approvalId, 'allow-once', 'maria');
      expect((await lookAt(ws, 'run', runId))?.run?.status).toBe('cancelled');
    });

    test('what it can not enforce is not sent to it, until there are only workers that can', async () => {
      const {store, ws, submit} = open(at);
      const worker = await plain(store);
      const {runId} = await submit('py', {requireEnforcement: ['security'], security: 'full'});
      const put = await until(async () => {
        const attempt = (await lookAt(ws, 'run', runId))?.attempt;
        return attempt?.statusReason === 'POLICY_UNENFORCEABLE' && attempt;
      });
      expect(put.place).toBe('delayed');
      expect(await at.redis().xlen(store.keys.ctrlStream('py'))).toBe(0);
      await worker.die();
      await work(at, store, [defineAgent({type: 'py', run: () => ({content: 'held'})})]);
      expect(await ended(ws, runId)).toMatchObject({run: {status: 'ok'}});
    });
  });
});
