/**
 * A LangGraph graph as a durable agent. Each run of the graph until it ends or interrupts is a step; an interrupt is a
 * question to a person, or a call of another agent, and what comes back resumes the graph. A worker that dies in the
 * middle is replaced by one that goes on behind the last checkpoint, as LangGraph promises it: nodes that had ended do not
 * run again, the one that was cut off does.
 */
import {AIMessageChunk, BaseMessage} from '@langchain/core/messages';
import {Command, type BaseCheckpointSaver, type StateSnapshot, type StreamMode} from '@langchain/langgraph';
import type {Storage} from '../../store/storage.js';
import {objectOf, textListOf, textOf} from '../../protocol/fields.js';
import {defineAgent, type Agent, type Ask} from '../../worker/agent.js';
import type {DurableContext, Question} from '../../worker/durable/context.js';
import {CallFailed} from '../../worker/durable/failures.js';
import type {RetryOptions} from '../../worker/retry.js';
import {calledIn, type AgentReply} from './agent-tool.js';
import {StorageCheckpointer} from './checkpointer.js';

/** What of a compiled graph is used: any `CompiledStateGraph` fits. */
export interface RunnableGraph {
  stream(
    input: unknown,
    config: {
      readonly configurable: {readonly thread_id: string};
      readonly signal: AbortSignal;
      readonly streamMode: StreamMode[];
      readonly durability: 'sync';
    },
  ): Promise<AsyncIterable<unknown>>;
  getState(config: {readonly configurable: {readonly thread_id: string}}): Promise<StateSnapshot>;
}

export interface LangGraphAgent {
  readonly type: string;
  /** Called for each turn, with where its state is kept: `options => builder.compile(options)`. */
  readonly graph: (options: {readonly checkpointer: BaseCheckpointSaver}) => RunnableGraph;
  /** The graph's input. Default: `{messages: [{role: 'user', content: ask.text}]}`. */
  readonly input?: (ask: Ask) => unknown;
  /** The answer, of the values at the end. Default: the text of the last message, else the values as JSON. */
  readonly output?: (values: Readonly<Record<string, unknown>>) => string;
  /** `session`: executions of one session go on with each other's state, as in a chat. Default: each has its own. */
  readonly memory?: 'execution' | 'session';
  /** Send on the tokens of models while they come. Default false. */
  readonly streamsTokens?: boolean;
  /** Try a run of the graph again that threw. Default: once only. */
  readonly retry?: RetryOptions;
}

/** A run of the graph as the journal keeps it. */
interface Stretch {
  readonly interrupts: readonly {readonly id: string; readonly value: unknown}[];
  readonly answer: string;
}

export function langGraphAgent(agent: LangGraphAgent): Agent {
  const {type, memory = 'execution', retry} = agent;
  return defineAgent({
    type,
    run: async (ctx, ask) => {
      const marks = ctx.storage(`langgraph:${ctx.executionId}`);
      const thread = memory === 'session' ? ctx.storage(`langgraph:${type}`) : marks;
      const saver = new StorageCheckpointer(() => thread);
      const graph = agent.graph({checkpointer: saver});
      let input: unknown = inputOf(agent, ask);
      for (let round = 0; ; round++) {
        const begun = input;
        const stretch = await ctx.step(
          `graph ${round}`,
          ({signal}) => runGraph(ctx, agent, graph, {marks, round, input: begun, signal}),
          retry === undefined ? {} : {retry},
        );
        if (stretch.interrupts.length === 0) return {content: stretch.answer};
        const given = stretch.interrupts.map(async ({id, value}) => [id, await settle(ctx, value)] as const);
        input = new Command({resume: Object.fromEntries(await Promise.all(given))});
      }
    },
  });
}

const inputOf = ({input}: LangGraphAgent, ask: Ask): unknown =>
  input === undefined ? {messages: [{role: 'user', content: ask.text}]} : input(ask);

interface Run {
  /** Where a run notes how it began. */
  readonly marks: Storage;
  readonly round: number;
  readonly input: unknown;
  readonly signal: AbortSignal;
}

/** Until the graph ends or interrupts. Begun again, it goes on behind the last checkpoint of the try before. */
async function runGraph(
  ctx: DurableContext,
  {output = answerOf, streamsTokens = false}: LangGraphAgent,
  graph: RunnableGraph,
  {marks, round, input, signal}: Run,
): Promise<Stretch> {
  const config = {configurable: {thread_id: ctx.sessionId}};
  const mark = `began ${round}`;
  const before = checkpointOf(await graph.getState(config));
  const [began] = await marks.read([mark]);
  if (began === undefined) await marks.write({[mark]: before});
  // Whoever was here before has taken the input in, if the thread has moved on since.
  const start = began === undefined || began === before ? input : null;
  const streamMode: StreamMode[] = streamsTokens ? ['updates', 'messages'] : ['updates'];
  for await (const item of await graph.stream(start, {...config, signal, streamMode, durability: 'sync'})) {
    const [mode, chunk] = item as [string, unknown];
    if (mode === 'messages') await ctx.emitChunk(tokenOf(chunk));
    else for (const node of nodesOf(chunk)) await ctx.emitState(node);
  }
  const state = await graph.getState(config);
  const values = objectOf(state.values);
  return {
    interrupts: state.tasks.flatMap(({interrupts}) =>
      interrupts.map(({id = '', value}) => ({id, value: value as unknown})),
    ),
    answer: state.next.length === 0 ? output(values) : '',
  };
}

const checkpointOf = ({config}: StateSnapshot): string =>
  textOf(objectOf(config.configurable)['checkpoint_id']);

/** Nodes that ended, of an update: they are its keys. */
const nodesOf = (update: unknown): string[] =>
  Object.keys(objectOf(update)).filter(node => !node.startsWith('__'));

/** What a model says, piece by piece; what tools and people say is no token. */
function tokenOf(chunk: unknown): string {
  const [message] = Array.isArray(chunk) ? (chunk as unknown[]) : [];
  return AIMessageChunk.isInstance(message) ? message.text : '';
}

/** Ask whom the interrupt is for, and wait. */
async function settle(ctx: DurableContext, value: unknown): Promise<unknown> {
  const call = calledIn(value);
  if (call === undefined) return ctx.askUser(questionOf(value));
  try {
    const reply = await ctx.call(call.agentType, call.content);
    return {reply} satisfies AgentReply;
  } catch (error) {
    // A failure of the agent that was called is the graph's to deal with; ours is not.
    if (!(error instanceof CallFailed)) throw error;
    return {failure: error.message} satisfies AgentReply;
  }
}

/** An interrupt's value as a question: text, or `{prompt, choices, default, deadlineMs}`; else it is shown as JSON. */
function questionOf(value: unknown): Question {
  if (typeof value === 'string') return {prompt: value};
  const {prompt, question, choices, default: fallback, deadlineMs} = objectOf(value);
  const asked = textOf(prompt) || textOf(question);
  const listed = textListOf(choices);
  return {
    prompt: asked || JSON.stringify(value),
    ...(listed.length === 0 ? {} : {choices: listed}),
    ...(typeof fallback === 'string' ? {default: fallback} : {}),
    ...(typeof deadlineMs === 'number' ? {deadlineMs} : {}),
  };
}

function answerOf(values: Readonly<Record<string, unknown>>): string {
  const {messages} = values;
  const last = Array.isArray(messages) ? (messages as unknown[]).at(-1) : undefined;
  return BaseMessage.isInstance(last) ? last.text : JSON.stringify(values);
}
