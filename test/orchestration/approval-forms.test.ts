/** Approvals as forms of a front end: shown as a question, decided by its answer, and never a turn. */
import {expect, test} from 'vitest';
import {openQuestions} from '../../src/availability/questions.js';
import {reply} from '../../src/availability/reply.js';
import {systemClock} from '../../src/clock.js';
import {silentLogger} from '../../src/log.js';
import {AgentAPI} from '../../src/orchestration/api.js';
import {AgentService} from '../../src/orchestration/service.js';
import {encodeSendable, type Content, type ResumeCommand} from '../../src/protocol/commands.js';
import {askUserPrompt, eventKind, readEventEntry} from '../../src/protocol/events.js';
import {createHeader} from '../../src/protocol/header.js';
import {decisionIn} from '../../src/protocol/orchestration/approval.js';
import {allowedPatterns, pendingApprovals, readApproval} from '../../src/store/approvals.js';
import {eventsBefore} from '../../src/store/data-streams.js';
import {findByMessage} from '../../src/store/executions.js';
import {lookAt, type Workspace} from '../../src/store/orchestration.js';
import type {Store} from '../../src/store/store.js';
import {defineAgent} from '../../src/worker/agent.js';
import type {DurableContext} from '../../src/worker/durable/context.js';
import {answersApproval} from '../../src/worker/approval-answer.js';
import {atEveryCrash} from '../support/crash.js';
import {describeEachStore, until, type TestStore} from '../support/stores.js';
import {ended, orchestrate, work, workspaceOf} from './support.js';

test('a decision is one word, or the only one in the fields of a form', () => {
  expect(decisionIn(' Allow once. ')).toBe('allow-once');
  expect(decisionIn('YES', null)).toBe('allow-once');
  expect(decisionIn('allow_always')).toBe('allow-always');
  expect(decisionIn('no')).toBe('deny');
  expect(decisionIn('{"user_input":"deny"}')).toBe('deny');
  expect(decisionIn([{fieldCode: 'user_input', value: 'allow'}])).toBe('allow-once');
  expect(decisionIn('', {user_input: 'yes'})).toBe('allow-once');
  for (const none of ['', 'maybe', 'no way, allow', '{"a":"yes","b":"no"}', '{broken', null])
    expect(decisionIn(none)).toBeUndefined();
});

describeEachStore('an approval', at => {
  type Code = (ctx: DurableContext) => Promise<unknown>;
  async function open(at: TestStore, options: {turns?: string[]; code?: Code} = {}) {
    const store = at.open();
    const ws = workspaceOf(store);
    const api = new AgentAPI({runtime: new AgentService({store})});
    orchestrate(at, ws);
    const {turns = []} = options;
    const agent = defineAgent({
      type: 'writer',
      run: async (ctx, ask) => {
        turns.push(ask.text);
        if (options.code !== undefined) {
          await options.code(ctx);
          return {content: 'done'};
        }
        const {stdout} = await ctx.step('count', () => ctx.spawnSandboxed(['wc', '-c'], {stdin: 'four'}));
        return {content: `counted ${stdout.trim()}`};
      },
    });
    await work(at, store, [agent]);
    const {runId} = await api.acceptAgentCommand('default', {
      ...{agentType: 'writer', message: 'go', policy: {ask: 'on-miss'}},
    });
    const approval = await until(async () => (await pendingApprovals(ws))[0] ?? false);
    const {sessionId} = approval;
    const asked = () => forms(store, sessionId);
    const event = await until(
      async () => (await asked()).find(({metadata}) => 'by_approval' in metadata) ?? false,
    );
    return {store, ws, api, runId, approval, sessionId, messageId: event.messageId, event, asked, turns};
  }

  const forms = async (store: Store, sessionId: string) =>
    (await eventsBefore(store, sessionId, '+', 500))
      .map(({data}) => readEventEntry(data))
      .filter(event => eventKind(event) === 'ask');

  const resume = (
    sessionId: string,
    messageId: string,
    content: Content,
    metadata: Record<string, unknown> = {},
  ): ResumeCommand => ({
    action: 'RESUME',
    header: createHeader({sessionId, messageId, targetAgentType: 'writer', userCode: 'u-1', metadata}),
    ...{status: '', content, replyData: null, extraPayload: {}},
  });
  const send = async (store: Store, command: ResumeCommand) =>
    store.commands.run(redis =>
      redis.xadd(store.keys.ctrlStream('writer'), '*', 'data', encodeSendable(command)),
    );
  const isSettled = (store: Store) =>
    until(async () => (await store.commands.run(r => r.xlen(store.keys.ctrlStream('writer')))) === 0);
  const isOk = async (ws: Workspace, runId: string) =>
    expect(await ended(ws, runId)).toMatchObject({run: {status: 'ok', result: {text: 'counted 4'}}});

  test('is shown as a form, and decided by a RESUME that names session and message alone', async () => {
    const {store, ws, runId, approval, sessionId, messageId, event, turns} = await open(at);
    expect(event.metadata).toMatchObject({
      ...{by_approval: approval.approvalId, by_question: approval.approvalId},
      by_choices: ['allow once', 'allow always', 'deny'],
    });
    expect(askUserPrompt(event)?.prompt).toContain(approval.summary);
    await send(store, resume(sessionId, messageId, '{"user_input":"yes"}'));
    await isOk(ws, runId);
    expect(await readApproval(ws, approval.approvalId)).toMatchObject({
      ...{state: 'allowed_once', decidedBy: 'u-1'},
    });
    // Late, and named: neither begins a turn of what has ended.
    await send(store, resume(sessionId, messageId, 'no'));
    await send(store, resume(sessionId, messageId, 'hm', {by_approval: approval.approvalId}));
    await isSettled(store);
    expect((await findByMessage(store, sessionId, messageId))?.status).toBe('COMPLETED');
    expect(turns).toEqual(['go']);
    expect((await readApproval(ws, approval.approvalId))?.state).toBe('allowed_once');
  });

  test('is asked again after an answer that is no decision', async () => {
    const {store, ws, runId, approval, sessionId, messageId, asked} = await open(at);
    await send(store, resume(sessionId, messageId, 'what for?'));
    await until(async () => (await asked()).length === 2);
    expect((await readApproval(ws, approval.approvalId))?.state).toBe('pending');
    await send(store, resume(sessionId, messageId, 'deny', {by_question: approval.approvalId}));
    expect(await ended(ws, runId)).toMatchObject({run: {status: 'error'}});
    expect((await readApproval(ws, approval.approvalId))?.state).toBe('denied');
    await isSettled(store);
  });

  test('is among the open questions, and decided by a reply, once', async () => {
    const {store, ws, runId, approval, sessionId, messageId} = await open(at);
    const [question, ...others] = await openQuestions(store, sessionId);
    expect(others).toEqual([]);
    expect(question).toMatchObject({questionId: approval.approvalId, messageId, dueAt: approval.expiresAt});
    const answer = (content: string, replyId: string, questionId?: string) =>
      reply(store, systemClock, {
        ...{sessionId, messageId, content, replyId},
        ...(questionId === undefined ? {} : {questionId}),
      });
    await expect(answer('perhaps', 'r-0')).rejects.toMatchObject({code: 'INVALID_INPUT'});
    expect(await answer('allow always', 'r-1')).toMatchObject({duplicate: false, streamId: ''});
    expect(await answer('allow always', 'r-1', approval.approvalId)).toMatchObject({duplicate: true});
    await expect(answer('deny', 'r-2', approval.approvalId)).rejects.toMatchObject({
      code: 'APPROVAL_ALREADY_DECIDED',
    });
    await isOk(ws, runId);
    expect(await readApproval(ws, approval.approvalId)).toMatchObject({decidedBy: 'form'});
    expect(await allowedPatterns(ws, 'writer')).toHaveLength(1);
    expect(await openQuestions(store, sessionId)).toEqual([]);
  });

  const count = (ctx: DurableContext, what: string) =>
    ctx.step(what, () => ctx.spawnSandboxed(['wc', what], {stdin: 'four'}));

  test('is not decided by the repeat of a reply that decided the one before', async () => {
    const code: Code = async ctx => [await count(ctx, '-c'), await count(ctx, '-l')];
    const {store, ws, api, runId, approval, sessionId, messageId} = await open(at, {code});
    const yes = {sessionId, messageId, content: 'yes', replyId: 'r-1'};
    expect(await reply(store, systemClock, yes)).toMatchObject({duplicate: false});
    const next = await until(async () => (await pendingApprovals(ws))[0] ?? false);
    expect(await reply(store, systemClock, yes)).toMatchObject({
      ...{duplicate: true, questionId: approval.approvalId},
    });
    expect((await readApproval(ws, next.approvalId))?.state).toBe('pending');
    await api.decideApproval('default', next.approvalId, 'deny', 'maria');
    await ended(ws, runId);
  });

  test('is not decided by words that may answer a question beside it', async () => {
    const code: Code = ctx => Promise.all([ctx.askUser('Book it?'), count(ctx, '-c')]);
    const {store, ws, api, runId, approval, sessionId, messageId} = await open(at, {code});
    await until(async () => (await openQuestions(store, sessionId)).length === 2);
    const command = resume(sessionId, messageId, 'yes');
    const entry = {stream: 'x', id: '1-0', data: ''} as never;
    expect(await answersApproval(store, silentLogger, entry, command)).toBe(false);
    expect((await readApproval(ws, approval.approvalId))?.state).toBe('pending');
    await api.decideApproval('default', approval.approvalId, 'deny', 'maria');
    await ended(ws, runId);
  });

  test('of another session is not decided by whoever names it', async () => {
    const {store, ws, api, runId, approval, messageId} = await open(at);
    const entry = {stream: 'x', id: '1-0', data: ''} as never;
    const named = resume('s-other', messageId, 'yes', {by_approval: approval.approvalId});
    expect(await answersApproval(store, silentLogger, entry, named)).toBe(true);
    expect((await readApproval(ws, approval.approvalId))?.state).toBe('pending');
    await expect(
      reply(store, systemClock, {
        ...{sessionId: approval.sessionId, messageId, content: 'yes', questionId: 'apr_other'},
      }),
    ).rejects.toMatchObject({code: 'NOT_WAITING'});
    await api.decideApproval('default', approval.approvalId, 'deny', 'maria');
    await ended(ws, runId);
  });

  test('is decided once, wherever the worker dies that hears the answer', async () => {
    const {store, ws, api, runId, approval, sessionId, messageId} = await open(at);
    await api.decideApproval('default', approval.approvalId, 'deny', 'maria');
    await ended(ws, runId);
    let number = 0;
    const points = await atEveryCrash(
      () => store,
      async () => {
        const {runId: next} = await api.acceptAgentCommand('default', {
          ...{agentType: 'writer', message: 'go', policy: {ask: 'on-miss', retry: {maxAttempts: 1}}},
        });
        const waiting = await until(async () => (await pendingApprovals(ws))[0] ?? false);
        const [form] = await until(async () => {
          const found = await forms(store, waiting.sessionId);
          return found.length > 0 && found;
        });
        const command = resume(waiting.sessionId, form?.messageId ?? '', 'allow');
        return {next, waiting, command, entry: {stream: 's', id: `${++number}-0`} as never};
      },
      (dying, {command, entry}) => answersApproval(dying, silentLogger, entry, command),
      async (alive, {next, waiting, command, entry}) => {
        // It is delivered again, also after the run has ended.
        expect(await answersApproval(alive, silentLogger, entry, command)).toBe(true);
        await isOk(ws, next);
        expect(await answersApproval(alive, silentLogger, entry, command)).toBe(true);
        expect(await readApproval(ws, waiting.approvalId)).toMatchObject({
          ...{state: 'allowed_once', heard: `s/${number}-0`},
        });
        expect((await lookAt(ws, 'run', next))?.run?.attemptCount).toBe(1);
      },
    );
    expect(points).toBeGreaterThan(2);
    expect((await findByMessage(store, sessionId, messageId))?.status).toBe('FAILED');
  });
});
