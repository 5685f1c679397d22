/** Answers of people: one for each question, to the execution that asked, or a refusal that says why. */
import {expect, test} from 'vitest';
import {GatewayClient} from '../../src/client/client.js';
import {askingOf, openQuestions} from '../../src/availability/questions.js';
import type {ReplyRequest} from '../../src/availability/reply.js';
import {ByError, messageOf} from '../../src/errors.js';
import {silentLogger} from '../../src/log.js';
import {encodeSendable} from '../../src/protocol/commands.js';
import {eventKind, eventText} from '../../src/protocol/events.js';
import {encodeRecord, newExecutionRecord} from '../../src/protocol/execution.js';
import {createHeader} from '../../src/protocol/header.js';
import {followSession} from '../../src/store/data-streams.js';
import {findExecution} from '../../src/store/executions.js';
import {readJournal} from '../../src/store/journal.js';
import {sweepOutboxes} from '../../src/store/outbox.js';
import type {Store} from '../../src/store/store.js';
import type {AskCommand, ResumeCommand} from '../../src/protocol/commands.js';
import {contentText, defineAgent, GatewayWorker, type Agent, type Ask} from '../../src/worker/agent.js';
import type {AgentContext} from '../../src/worker/context.js';
import type {DurableContext} from '../../src/worker/durable/context.js';
import {startWorker, type WorkerHandle} from '../../src/worker/runner.js';
import {atEveryCrash} from '../support/crash.js';
import {describeEachStore, until, type TestStore} from '../support/stores.js';

const TYPE = 'asker';

async function work(at: TestStore, store: Store, agent: Agent, concurrency = 50): Promise<WorkerHandle> {
  const worker = await startWorker(store, {log: silentLogger, agents: [agent], concurrency});
  at.cleanup(() => worker.stop({drainMs: 0}));
  return worker;
}

const durable = (run: (ctx: DurableContext, ask: Ask) => unknown): Agent => defineAgent({type: TYPE, run});

class Handling extends GatewayWorker {
  constructor(readonly handle: (command: AskCommand | ResumeCommand, ctx: AgentContext) => unknown) {
    super();
  }
  override getAgentTypes() {
    return [TYPE];
  }
  override processCommand(command: AskCommand | ResumeCommand, ctx: AgentContext) {
    return this.handle(command, ctx);
  }
}

/** Asks once, and answers with what it is told. */
const messages = (log: string[] = []): Agent =>
  new Handling((command, ctx) => {
    log.push(`${command.action} ${contentText(command.content)}`);
    return command.action === 'ASK_AGENT'
      ? ctx.askUser('Which env?')
      : {content: `deployed ${contentText(command.content)}`};
  });

const ask = (store: Store, over: {userCode?: string} = {}) =>
  new GatewayClient(store).send({agentType: TYPE, content: 'go', policy: 'SEND_ANYWAY', ...over});
type Sent = Awaited<ReturnType<typeof ask>>;

const answer = (store: Store, sent: Sent, over: Partial<ReplyRequest> = {}) =>
  new GatewayClient(store).reply({
    ...{sessionId: sent.sessionId, executionId: sent.executionId, content: 'staging'},
    ...over,
  });

/** The code of the refusal, and what it says beside. */
const refusalOf = async (replying: Promise<unknown>): Promise<ByError> => {
  const error = await replying.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  if (!(error instanceof ByError)) throw new Error(`not refused: ${String(error)}`);
  return error;
};

const withStatus = (store: Store, {sessionId, executionId}: Sent, status: string) =>
  until(async () => {
    const record = await findExecution(store, sessionId, executionId);
    return record?.status === status && record;
  });

const asked = (store: Store, {sessionId}: Sent, count = 1) =>
  until(async () => {
    const open = await openQuestions(store, sessionId);
    return open.length === count && open;
  });

async function told(store: Store, {sessionId}: Sent, kind: string): Promise<string[]> {
  const lines: string[] = [];
  for await (const item of followSession(store, sessionId, {untilCaughtUp: true}))
    if (item.kind === 'event' && eventKind(item.event) === kind) lines.push(eventText(item.event));
  return lines;
}

const TWENTY = Array.from({length: 20}, (_, index) => `user-${index}`);

describeEachStore('a reply', at => {
  test('continues the execution that asked, in its own turn', async () => {
    const store = at.open();
    const log: string[] = [];
    await work(at, store, messages(log));
    const sent = await ask(store);
    const [question] = await asked(store, sent);
    expect(question).toMatchObject({prompt: 'Which env?', executionId: sent.executionId, agentType: TYPE});
    const replied = await answer(store, sent);
    expect(replied).toMatchObject({
      executionId: sent.executionId,
      questionId: question?.questionId,
      duplicate: false,
    });
    await withStatus(store, sent, 'COMPLETED');
    expect({log, final: await told(store, sent, 'final')}).toEqual({
      log: ['ASK_AGENT go', 'RESUME staging'],
      final: ['deployed staging'],
    });
  });

  test('to a durable agent is its answer, also as data, and by message id', async () => {
    const store = at.open();
    await work(
      at,
      store,
      durable(async ctx => ({
        content: JSON.stringify([await ctx.askUser('One?'), await ctx.askUser('Two?')]),
      })),
    );
    const sent = await ask(store);
    await asked(store, sent);
    await answer(store, sent, {content: '', status: 'COMPLETED', data: {n: 1}});
    await until(async () => (await told(store, sent, 'ask')).length === 2);
    const {executionId: _, ...named} = {...sent, sessionId: sent.sessionId};
    await new GatewayClient(store).reply({
      sessionId: named.sessionId,
      messageId: named.messageId,
      content: 'two',
    });
    await withStatus(store, sent, 'COMPLETED');
    expect(await told(store, sent, 'final')).toEqual(['[{"n":1},"two"]']);
  });

  test.each([
    ['an agent that handles each command', messages()],
    [
      'a durable agent',
      durable(async ctx => ({content: `deployed ${String(await ctx.askUser('Which env?'))}`})),
    ],
  ])('of twenty at once to %s, one is accepted and the others are told who was first', async (_, agent) => {
    const store = at.open();
    const worker = await work(at, store, agent);
    const sent = await ask(store, {userCode: ''});
    await asked(store, sent);
    await worker.stop({drainMs: 0});
    const outcomes = await Promise.allSettled(
      TWENTY.map(name => answer(store, sent, {content: name, replyId: `reply-${name}`})),
    );
    const accepted = outcomes.flatMap(each => (each.status === 'fulfilled' ? [each.value.replyId] : []));
    const refused = outcomes.flatMap(each => (each.status === 'rejected' ? [each.reason as ByError] : []));
    expect(accepted).toHaveLength(1);
    expect(refused.map(({code}) => code)).toEqual(Array.from({length: 19}, () => 'ALREADY_ANSWERED'));
    for (const {details} of refused)
      expect(details['answered']).toMatchObject({replyId: accepted[0], at: expect.any(Number) as number});
    await work(at, store, agent);
    await withStatus(store, sent, 'COMPLETED');
    expect(await told(store, sent, 'final')).toEqual([`deployed ${accepted[0]?.slice('reply-'.length)}`]);
  });

  test('is accepted once under its id, whatever has happened since', async () => {
    const store = at.open();
    await work(
      at,
      store,
      durable(async ctx => {
        await ctx.askUser('One?');
        await ctx.askUser({prompt: 'Two?', choices: ['x']});
      }),
    );
    const sent = await ask(store);
    await asked(store, sent);
    expect(await answer(store, sent, {replyId: 'reply-1'})).toMatchObject({duplicate: false});
    expect(await answer(store, sent, {replyId: 'reply-1'})).toMatchObject({duplicate: true, streamId: ''});
    await until(async () => (await told(store, sent, 'ask')).length === 2);
    expect(await answer(store, sent, {replyId: 'reply-1'})).toMatchObject({duplicate: true});
    expect((await readJournal(store, sent)).outcomes.size).toBe(1);
  });

  test('that comes after the time of the question is refused, and the default stays', async () => {
    const store = at.open();
    await work(
      at,
      store,
      durable(async ctx => {
        const first = await ctx.askUser({prompt: 'Publish?', deadlineMs: 50, default: 'no'});
        const second = await ctx.askUser('Sure?');
        return {content: `${String(first)} ${String(second)}`};
      }),
    );
    const sent = await ask(store);
    const question = await until(async () => {
      const {entries} = await readJournal(store, sent);
      return entries.get(0)?.messageId;
    });
    const [sure] = await until(async () => {
      const open = await openQuestions(store, sent.sessionId);
      return open[0]?.prompt === 'Sure?' && open;
    });
    expect(await refusalOf(answer(store, sent, {questionId: question, content: 'yes'}))).toMatchObject({
      code: 'ANSWER_TOO_LATE',
      exitCode: 11,
    });
    await answer(store, sent, {questionId: sure!.questionId, content: 'sure'});
    await withStatus(store, sent, 'COMPLETED');
    expect(await told(store, sent, 'final')).toEqual(['no sure']);
  });

  test('names its question: one of a run that was continued since is refused', async () => {
    const store = at.open();
    await work(
      at,
      store,
      durable(async ctx => ({content: String(await ctx.askUser('Name?'))})),
    );
    const sent = await ask(store);
    const [before] = await asked(store, sent);
    await answer(store, sent, {content: 'Ada'});
    await withStatus(store, sent, 'COMPLETED');
    expect(await refusalOf(answer(store, sent, {questionId: before!.questionId}))).toMatchObject({
      code: 'NOT_WAITING',
    });

    await answer(store, sent, {content: 'again', continues: true});
    const [now] = await asked(store, sent);
    expect(now?.questionId).not.toBe(before?.questionId);
    const late = await refusalOf(answer(store, sent, {questionId: before!.questionId, content: 'Eve'}));
    expect(late).toMatchObject({code: 'NOT_WAITING', details: {questionId: before?.questionId}});
    await answer(store, sent, {questionId: now!.questionId, content: 'Grace'});
    await withStatus(store, sent, 'COMPLETED');
    expect(await told(store, sent, 'final')).toEqual(['Ada', 'Grace']);
  });

  test('to a turn that another has followed is refused by the name of its question', async () => {
    const store = at.open();
    let turns = 0;
    const agent = new Handling((_command, ctx) =>
      ++turns < 3 ? ctx.askUser(`Turn ${turns}?`) : {content: 'done'},
    );
    await work(at, store, agent);
    const sent = await ask(store);
    const [first] = await asked(store, sent);
    await answer(store, sent);
    const [second] = await until(async () => {
      const open = await openQuestions(store, sent.sessionId);
      return open[0]?.prompt === 'Turn 2?' && open;
    });
    expect((await refusalOf(answer(store, sent, {questionId: first!.questionId}))).code).toBe('NOT_WAITING');
    await answer(store, sent, {questionId: second!.questionId});
    await withStatus(store, sent, 'COMPLETED');
    expect(turns).toBe(3);
  });

  test('that was accepted and overtaken by another client does not run a later turn', async () => {
    const store = at.open();
    const log: string[] = [];
    const worker = await work(at, store, messages(log));
    const sent = await ask(store);
    await asked(store, sent);
    await worker.stop({drainMs: 0});
    // A client of another SDK looks at nothing, and is read first.
    const document = encodeSendable({
      action: 'RESUME',
      header: createHeader({...sent, targetAgentType: TYPE}),
      ...{content: 'prod', status: '', replyData: null, extraPayload: {}},
    });
    await store.commands.run(redis => redis.xadd(store.keys.ctrlStream(TYPE), '*', 'data', document));
    await answer(store, sent);
    // One slot: the turns begin in the order in which they were read.
    await work(at, store, messages(log), 1);
    await withStatus(store, sent, 'COMPLETED');
    await until(
      async () => (await store.commands.run(redis => redis.xlen(store.keys.ctrlStream(TYPE)))) === 0,
    );
    expect(log).toEqual(['ASK_AGENT go', 'RESUME prod']);
  });

  test('to one of several questions has to say which', async () => {
    const store = at.open();
    await work(
      at,
      store,
      durable(async ctx => ({
        content: (await Promise.all([ctx.askUser('A?'), ctx.askUser('B?')])).join(' '),
      })),
    );
    const sent = await ask(store);
    const [a, b] = await asked(store, sent, 2);
    expect(await refusalOf(answer(store, sent))).toMatchObject({
      code: 'INVALID_INPUT',
      details: {questions: [{prompt: 'A?'}, {prompt: 'B?'}]},
    });
    // Both before any turn has seen either.
    await Promise.all([
      answer(store, sent, {questionId: b!.questionId, content: 'bee'}),
      answer(store, sent, {questionId: a!.questionId, content: 'ay'}),
    ]);
    await withStatus(store, sent, 'COMPLETED');
    expect(await told(store, sent, 'final')).toEqual(['ay bee']);
  });

  test('that is not among the choices is refused with them, and the question stays open', async () => {
    const store = at.open();
    await work(
      at,
      store,
      durable(async ctx => ({
        content: String(
          await ctx.askUser({prompt: 'Go?', choices: ['yes', 'no'], deadlineMs: 600_000, default: 'no'}),
        ),
      })),
    );
    const sent = await ask(store);
    const [question] = await asked(store, sent);
    expect(question).toMatchObject({
      choices: ['yes', 'no'],
      default: 'no',
      dueAt: expect.any(Number) as number,
    });
    expect(await refusalOf(answer(store, sent, {content: 'maybe'}))).toMatchObject({
      code: 'INVALID_INPUT',
      details: {choices: ['yes', 'no']},
    });
    await answer(store, sent, {content: 'yes'});
    await withStatus(store, sent, 'COMPLETED');
    expect(await told(store, sent, 'final')).toEqual(['yes']);
  });

  test('with another status fails the question of a durable agent', async () => {
    const store = at.open();
    await work(
      at,
      store,
      durable(ctx =>
        ctx
          .askUser({prompt: 'Go?', choices: ['yes']})
          .catch((error: unknown) => ({content: messageOf(error)})),
      ),
    );
    const sent = await ask(store);
    await asked(store, sent);
    await answer(store, sent, {status: 'FAILED', content: 'not my business'});
    await withStatus(store, sent, 'COMPLETED');
    expect((await told(store, sent, 'final'))[0]).toContain('not my business');
  });

  test('is refused by an execution that asks nothing, is cancelled, or is unknown, and of another user', async () => {
    const store = at.open();
    await work(at, store, messages());
    const sent = await ask(store, {userCode: 'ada'});
    await asked(store, sent);
    expect((await refusalOf(answer(store, sent, {userCode: 'eve'}))).code).toBe('NOT_FOUND');
    expect((await refusalOf(answer(store, sent, {executionId: 'exec-none'}))).code).toBe('NOT_FOUND');
    expect((await refusalOf(answer(store, sent, {content: ''}))).code).toBe('INVALID_INPUT');
    await new GatewayClient(store).cancel({sessionId: sent.sessionId});
    expect(await refusalOf(answer(store, sent))).toMatchObject({
      code: 'NOT_WAITING',
      details: {status: 'CANCELLED'},
    });
    const other = await ask(store, {userCode: 'ada'});
    await asked(store, other);
    await answer(store, other, {userCode: 'ada'});
    await withStatus(store, other, 'COMPLETED');
    expect((await refusalOf(answer(store, other))).code).toBe('NOT_WAITING');
  });

  test('may come before the turn that asked has ended', async () => {
    const store = at.open();
    let release: () => void = () => undefined;
    const held = new Promise<void>(resolve => (release = resolve));
    const agent = new Handling(async (command, ctx) => {
      if (command.action !== 'ASK_AGENT') return {content: contentText(command.content)};
      const asking = await ctx.askUser('Env?');
      await held;
      return asking;
    });
    await work(at, store, agent);
    const sent = await ask(store);
    await until(async () => (await told(store, sent, 'ask')).length === 1);
    const replying = answer(store, sent);
    release();
    await replying;
    await withStatus(store, sent, 'COMPLETED');
    expect(await told(store, sent, 'final')).toEqual(['staging']);
  });

  test('continues what has ended once, when that is asked for', async () => {
    const store = at.open();
    const log: string[] = [];
    const worker = await work(at, store, messages(log));
    const sent = await ask(store);
    await asked(store, sent);
    await answer(store, sent);
    await withStatus(store, sent, 'COMPLETED');
    await worker.stop({drainMs: 0});
    const outcomes = await Promise.allSettled(
      TWENTY.map(name => answer(store, sent, {content: name, continues: true})),
    );
    expect(outcomes.filter(({status}) => status === 'fulfilled')).toHaveLength(1);
    for (const each of outcomes)
      if (each.status === 'rejected') expect((each.reason as ByError).code).toBe('ALREADY_ANSWERED');
    await work(at, store, messages(log));
    await until(() => log.length === 3);
    await withStatus(store, sent, 'COMPLETED');
    expect(
      (await askingOf(store, (await findExecution(store, sent.sessionId, sent.executionId))!)).open,
    ).toEqual([]);
  });

  test('whose sender dies between any two of its commands is accepted or not, and once', async () => {
    const streams = ({keys: {ctrlStream, sessionOutbox, openOutboxes}}: Store) => [
      ...[ctrlStream(TYPE), sessionOutbox('s'), openOutboxes()],
    ];
    const request: ReplyRequest = {sessionId: 's', executionId: 'x', content: 'yes', replyId: 'r'};
    const points = await atEveryCrash(
      () => at.open(),
      async store => {
        const record = newExecutionRecord({
          ...{executionId: 'x', messageId: 'm', sessionId: 's', traceId: 't', parentMessageId: ''},
          ...{
            sourceAgentType: 'client',
            targetAgentType: TYPE,
            streamName: '',
            now: 1,
            status: 'WAITING_USER',
          },
        });
        const fields = {'exec:x': encodeRecord(record), 'msg_map:m': 'x'};
        await store.commands.run(redis => redis.hset(store.keys.sessionRegistry('s'), fields));
        await store.commands.run(redis => redis.expire(store.keys.sessionRegistry('s'), 600));
      },
      store => new GatewayClient(store).reply(request),
      async store => {
        await sweepOutboxes(store, 0);
        const lengths = () =>
          Promise.all(streams(store).map(key => store.commands.run(redis => redis.xlen(key))));
        const [before = 0] = await lengths();
        const again = await new GatewayClient(store).reply(request);
        expect(again.duplicate).toBe(before === 1);
        expect(await lengths()).toEqual([1, 0, 0]);
        const other = new GatewayClient(store).reply({...request, replyId: 'other'});
        expect((await refusalOf(other)).code).toBe('ALREADY_ANSWERED');
      },
    );
    expect(points).toBeGreaterThan(3);
  });
});
