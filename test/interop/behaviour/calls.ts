/** Agents that call agents, against the rows of lifecycle.json, hazards.json and ts_sdk.json. */
import {expect} from 'vitest';
import {GatewayClient} from '../../../src/client/client.js';
import {spanIdHex} from '../../../src/ids.js';
import {commandToWire} from '../../../src/protocol/commands.js';
import {contentText} from '../../../src/worker/agent.js';
import type {MemberResult} from '../../../src/worker/calls.js';
import {until, type TestStore} from '../../support/stores.js';
import {asDoc, at as field, type Doc, type Row} from '../vectors.js';
import {
  common,
  contents,
  DATA_STREAM,
  named,
  recordsOf,
  SESSION_REGISTRY,
  streamOf,
  summary,
  summaryOf,
  timelineOf,
  work,
  type Handle,
  type RowTest,
} from './support.js';

interface Ran {
  /** What agents were given, as it travels. */
  readonly commands: readonly Doc[];
  readonly records: readonly Doc[];
  readonly events: readonly Doc[];
}

/** Let these agents run until the first of them has ended. */
async function run(
  at: TestStore,
  handles: Readonly<Record<string, Handle>>,
  request: {readonly userCode?: string; readonly userName?: string} = {},
): Promise<Ran> {
  const store = at.open();
  const redis = at.redis();
  const commands: Doc[] = [];
  const listening = Object.entries(handles).map(([type, handle]): [string, Handle] => [
    type,
    (command, ctx) => {
      commands.push(commandToWire(command));
      return handle(command, ctx);
    },
  ]);
  await work(at, store, Object.fromEntries(listening));
  const [agentType = ''] = Object.keys(handles);
  await new GatewayClient(store).send({...{agentType, content: 'go', sessionId: 'sess-1'}, ...request});
  const hasEnded = (record: Doc) => ['COMPLETED', 'FAILED'].includes(record['status'] as string);
  const registry = async () => recordsOf((await contents(redis, store))[SESSION_REGISTRY]?.value);
  await until(async () => {
    const records = await registry();
    return records.length > 1 && records.every(hasEnded);
  });
  const found = await contents(redis, store);
  const events = streamOf(found, DATA_STREAM).map(asDoc);
  return {commands, records: recordsOf(found[SESSION_REGISTRY]?.value), events};
}

const docsOf = (row: Row): Doc[] =>
  Object.values(asDoc(field(row.expected, 'control_streams'))).flatMap(
    stream => field(stream, 'entries') as Doc[],
  );

/** Ids by what they are: the ASK with this content, its execution and its spans. */
function namesIn(commands: readonly Doc[], records: readonly Doc[]): Record<string, string> {
  const names: Record<string, string> = {};
  const name = (id: unknown, what: string) => {
    if (typeof id === 'string' && id !== '') names[id] ??= what;
  };
  for (const {action_type, header, body} of commands) {
    name(asDoc(header)['trace_id'], '<trace>');
    name(asDoc(header)['task_group_id'], '<group>');
    if (action_type !== 'ASK_AGENT') continue;
    const {message_id: id} = asDoc(header);
    const what = String(asDoc(body)['content']);
    name(id, `<${what}>`);
    name(spanIdHex(`${String(id)}:client.dispatch`), `<span of ${what}>`);
    const execution = records.find(record => record['message_id'] === id)?.['execution_id'];
    name(execution, `<execution of ${what}>`);
    name(spanIdHex(`${String(execution)}:agent.return`), `<return of ${what}>`);
  }
  return names;
}

/** As both write them: Python names a user `default` where there is none (R21). */
function comparable(commands: readonly Doc[], records: readonly Doc[]): Doc[] {
  const normal = named(common(commands), namesIn(commands, records)) as Doc[];
  return normal
    .map(command => {
      const header = asDoc(command['header']);
      const {user_code: user} = header;
      return {...command, header: {...header, user_code: user === 'default' ? '' : user}};
    })
    .sort((a, b) => (JSON.stringify(a) < JSON.stringify(b) ? -1 : 1));
}

/** The commands are the row's, but for `changed`. */
function compareCommands(ran: Ran, row: Row, changed: (command: Doc) => Doc = command => command): void {
  const theirs = comparable(docsOf(row), recordsOf(field(row.expected, 'session_registry')));
  expect(comparable(ran.commands, ran.records).map(changed)).toEqual(theirs.map(changed));
}

/** A receipt is no answer (R24). */
const isReceipt = (event: Doc): boolean => {
  const status = event['content'] !== null && asDoc(event['content'])['status'];
  return status === 'QUEUED' || status === 'GROUP_QUEUED';
};

const said = (events: readonly Doc[]): unknown[] =>
  events
    .filter(event => typeof event['content'] === 'string' || !isReceipt(event))
    .map(({event_type, content, source_agent_type}) => [event_type, content, source_agent_type]);

const compareEvents = (ran: Ran, row: Row): void =>
  expect(said(summary(ran.events) as Doc[])).toEqual(said(summaryOf(row) as Doc[]));

const timelines = (records: readonly Doc[]): Record<string, unknown[]> =>
  Object.fromEntries(records.map(record => [record['target_agent_type'] as string, timelineOf(record)]));

const WAITED = ['QUEUED', 'RUNNING', 'WAITING_AGENT', 'RUNNING', 'COMPLETED'];
const RECEIPT = 'R24, §6.7: a receipt is no answer, and the caller is WAITING_AGENT';

const calling =
  (call: object, then: Handle): Handle =>
  (command, ctx) =>
    command.action === 'ASK_AGENT'
      ? ctx.callAgent({...{agentType: 'writer', content: 'x'}, ...call})
      : then(command, ctx);

const writing: Handle = async (_, ctx) => {
  await ctx.emitChunk('w-chunk');
  return {status: 'COMPLETED', content: 'w-result', metadata: {child: 1}, extra_payload: {e: 2}};
};

const final: Handle = command => ({content: `final:${contentText(command.content)}`});

/** What the TypeScript SDK does otherwise: fresh ids of replies (R9), spans, no user where there is none. */
const asTypescript = (command: Doc): Doc => {
  const {
    trace_parent_span_id: _span,
    langfuse_parent_observation_id: _observation,
    message_id: id,
    metadata,
    ...header
  } = asDoc(command['header']);
  const {
    trace_parent_span_id: _inner,
    framework_parent_span_id: _raw,
    langfuse_parent_observation_id: _other,
    ...rest
  } = asDoc(metadata);
  const isReply = command['action_type'] === 'RESUME';
  return {...command, header: {...header, metadata: rest, ...(isReply ? {} : {message_id: id})}};
};

const TASKS = [
  {agentType: 'writer', content: 't1'},
  {agentType: 'writer', content: 't2', metadata: {n: 2}, extraPayload: {x: 1}},
];

function scattering(collected: MemberResult[]): Handle {
  return async (command, ctx) => {
    if (command.action === 'ASK_AGENT') return ctx.dispatchGroup(TASKS);
    collected.push(...(await ctx.collectGroupResults()));
    return {content: `${collected.length} results`};
  };
}

const doneWith: Handle = command => ({content: `done ${contentText(command.content)}`});

export const calls: Record<string, RowTest> = {
  'lifecycle/call_agent.wait_for_reply': {
    differs: RECEIPT,
    async run(at, row) {
      const call = {content: 'sub task', metadata: {k: 'v'}, extraPayload: {p: 1}};
      const ran = await run(
        at,
        {planner: calling(call, final), writer: writing},
        {userCode: 'u-1', userName: 'Ann'},
      );
      compareCommands(ran, row);
      compareEvents(ran, row);
      expect(timelines(ran.records)).toEqual({planner: WAITED, writer: ['QUEUED', 'RUNNING', 'COMPLETED']});
    },
  },
  'lifecycle/call_agent.handoff (wait_for_reply=false)': {
    async run(at, row) {
      const ran = await run(at, {
        planner: async (_, ctx) => {
          await ctx.callAgent({agentType: 'writer', content: 'handoff', waitForReply: false});
        },
        writer: async (_, ctx) => {
          await ctx.emitChunk('w-chunk');
          return {content: 'w-result'};
        },
      });
      compareCommands(ran, row);
      compareEvents(ran, row);
      const theirs = timelines(recordsOf(field(row.expected, 'session_registry')));
      expect(timelines(ran.records)).toEqual(theirs);
    },
  },
  'lifecycle/call_agent.nested_three_levels': {
    differs: 'R12, each caller gets one reply, the final one',
    async run(at, row) {
      const seen: unknown[] = [];
      const level =
        (name: string, to: string): Handle =>
        (command, ctx) => {
          if (command.action === 'ASK_AGENT') return ctx.callAgent({agentType: to, content: `to ${to}`});
          const text = contentText(command.content);
          seen.push([name, command.status, text, command.replyData]);
          return {content: `${name}<${text}>`};
        };
      const ran = await run(at, {a: level('A', 'b'), b: level('B', 'c'), c: () => ({content: 'C'})});
      const [, theirs] = field(row.expected, 'resumes_seen_by_business_code') as unknown[];
      expect(seen).toEqual([theirs, ['A', 'COMPLETED', 'B<C>', null]]);
      const answered = (command: Doc) => ({
        ...command,
        body: asDoc(command['body'])['status'] === undefined ? command['body'] : '<answer>',
      });
      compareCommands(ran, row, answered);
      expect(said(summary(ran.events) as Doc[])).toEqual([
        ['reasoningLogDelta', 'C', 'c'],
        ['reasoningLogDelta', 'B<C>', 'b'],
        ['finalAnswer', 'A<B<C>>', 'a'],
        ['appStreamResponse', '', 'a'],
      ]);
    },
  },
  'lifecycle/call_agent.target_offline_FAIL_FAST': {
    differs: 'R25, the stream is closed',
    async run(at, row) {
      const receipts: unknown[] = [];
      const ran = await run(at, {
        planner: async (_, ctx) => {
          receipts.push(await ctx.callAgent({agentType: 'nobody', content: 'x'}));
          return {status: 'COMPLETED'};
        },
      });
      const [theirs] = field(row.expected, 'call_agent_return') as Doc[];
      const of = (records: readonly Doc[], type: string) =>
        records.find(record => record['target_agent_type'] === type);
      const [planner, refused] = [of(ran.records, 'planner'), of(ran.records, 'nobody')];
      const words = expect.any(String) as unknown;
      expect(receipts).toEqual([{...theirs, error: words, parent_message_id: planner?.['message_id']}]);
      const recorded = of(recordsOf(field(row.expected, 'session_registry')), 'nobody');
      const kept = (record: Doc | undefined) =>
        Object.entries(common(record) as Doc)
          .filter(([name]) => !/_(id|at)$|^timeline$|error$|message$/.test(name))
          .sort();
      expect(kept(refused)).toEqual(kept(recorded));
      expect(said(summary(ran.events) as Doc[])).toEqual([['appStreamResponse', '', 'planner']]);
    },
  },
  'lifecycle/call_agent.child_raises': {
    differs: RECEIPT,
    async run(at, row) {
      const ran = await run(at, {
        planner: calling({}, command => ({
          content: `${command.action === 'RESUME' ? command.status : ''}:${JSON.stringify('replyData' in command ? command.replyData : null).replace(':', ': ')}`,
        })),
        writer: () => {
          throw new Error('boom');
        },
      });
      compareCommands(ran, row);
      compareEvents(ran, row);
    },
  },
  'lifecycle/scatter_gather.two_tasks': {
    differs: 'R13, R24: every answer is kept, under the id of its call; the caller’s code runs once',
    async run(at, row) {
      const collected: MemberResult[] = [];
      const ran = await run(at, {planner: scattering(collected), writer: doneWith});
      const [{results = []} = {}] = field(row.expected, 'collected_on_final_resume') as Doc[];
      const [last] = results as Doc[];
      expect(collected.map(({status, content}) => [status, content])).toEqual([
        ['COMPLETED', 'done t1'],
        [last?.['status'], last?.['content']],
      ]);
      const isAsk = (command: Doc) => command['action_type'] === 'ASK_AGENT';
      const theirs = comparable(docsOf(row), recordsOf(field(row.expected, 'session_registry')));
      const ours = comparable(ran.commands, ran.records);
      expect(ours.filter(isAsk)).toEqual(theirs.filter(isAsk));
      const [answer, ...more] = ours.filter(command => !isAsk(command));
      expect(more).toEqual([]);
      expect(
        theirs.filter(command => !isAsk(command)).map(({header}) => Object.keys(asDoc(header))),
      ).toContainEqual(Object.keys(asDoc(answer?.['header'])));
      expect(said(summary(ran.events) as Doc[]).slice(-2)).toEqual([
        ['finalAnswer', '2 results', 'planner'],
        ['appStreamResponse', '', 'planner'],
      ]);
    },
  },
  'hazards/call_agent_then_return_nothing': {
    differs: '§6.7, it waits',
    async run(at, row) {
      const ran = await run(at, {
        planner: async (command, ctx) => {
          if (command.action === 'RESUME') return {content: 'done'};
          await ctx.callAgent({agentType: 'writer', content: 'x'});
          return null;
        },
        writer: () => ({content: 'w'}),
      });
      expect(timelines(ran.records)['planner']).toEqual(WAITED);
      const events = said(summary(ran.events) as Doc[]) as string[][];
      expect(events.map(([kind, text]) => [kind, text])).toEqual([
        ...(field(row.expected, 'events') as unknown[]),
        ['finalAnswer', 'done'],
        ['appStreamResponse', ''],
      ]);
    },
  },
  'ts_sdk/call_agent.wait': {
    differs: 'R9, the execution that called goes on, not another; C17',
    async run(at, row) {
      const seen: unknown[] = [];
      const ran = await run(
        at,
        {
          planner: calling({content: 'sub', metadata: {k: 'v'}, extraPayload: {p: 1}}, (command, ctx) => {
            seen.push({
              status: command.action === 'RESUME' && command.status,
              content: contentText(command.content),
            });
            return final(command, ctx);
          }),
          writer: writing,
        },
        {userCode: 'u-1'},
      );
      compareCommands(ran, row, asTypescript);
      const [{status, content} = {}] = field(row.expected, 'extra') as Doc[];
      expect(seen).toEqual([{status, content}]);
      expect(timelines(ran.records)['planner']).toEqual(WAITED);
    },
  },
  'ts_sdk/scatter_gather': {
    differs: 'R13, R20: answers under the ids of their calls, without a history',
    async run(at, row) {
      const collected: MemberResult[] = [];
      const ran = await run(at, {planner: scattering(collected), writer: doneWith});
      const theirs = (field(row.expected, 'extra', 0) as Doc[]).map(result => [
        ...[result['status'], result['reply_data'], result['content']],
      ]);
      const ours = collected.map(({status, reply_data, content}) => [status, reply_data, content]);
      expect(ours.reverse()).toEqual(theirs);
      expect(timelines(ran.records)['planner']?.slice(-2)).toEqual(['RUNNING', 'COMPLETED']);
    },
  },
};
