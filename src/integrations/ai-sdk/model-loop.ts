/**
 * A model that calls tools until it has an answer, durably: each call of the model and each of a tool is kept, so that a
 * worker that dies costs nothing that was paid for. Tools of one answer run side by side.
 */
import type {ModelMessage, Tool, ToolResultPart, ToolSet} from 'ai';
import {ByError, messageOf} from '../../errors.js';
import {isObject} from '../../protocol/limits.js';
import type {DurableContext} from '../../worker/durable/context.js';
import {CallFailed, StepFailed} from '../../worker/durable/failures.js';
import {agentBehind} from './agent-as-tool.js';
import {modelCall, type ModelAnswer, type ModelCall, type ToolCall} from './model-call.js';

export interface ModelLoop extends ModelCall {
  /** Most calls of the model. Default 16. */
  readonly maxRounds?: number;
  /** Begins the names of its steps, for executions with several loops. Default `model`. */
  readonly name?: string;
}

export interface ModelLoopEnd {
  readonly text: string;
  /** All that was said, the given messages first: what a later loop goes on with. */
  readonly messages: readonly ModelMessage[];
  /** Tokens of all calls together. */
  readonly usage: {readonly inputTokens: number; readonly outputTokens: number};
  readonly rounds: number;
}

type Output = ToolResultPart['output'];

/**
 * A tool's `execute` runs as a step; one made by agentAsTool calls its agent; one that `needsApproval` asks a person
 * first. What a tool throws is told to the model.
 * @throws {ByError} TASK_FAILED when the model still wants tools after the last round; what {@link modelCall} throws.
 */
export async function modelLoop(ctx: DurableContext, loop: ModelLoop): Promise<ModelLoopEnd> {
  const {tools = {}, maxRounds = 16, name = 'model'} = loop;
  const messages: ModelMessage[] = [...loop.messages];
  const usage = {inputTokens: 0, outputTokens: 0};
  for (let round = 1; round <= maxRounds; round++) {
    const answer: ModelAnswer = await modelCall(ctx, `${name} ${round}`, {...loop, messages});
    messages.push(...answer.messages);
    usage.inputTokens += answer.usage.inputTokens ?? 0;
    usage.outputTokens += answer.usage.outputTokens ?? 0;
    if (answer.toolCalls.length === 0) return {text: answer.text, messages, usage, rounds: round};
    const results = await Promise.all(
      answer.toolCalls.map(async (call): Promise<ToolResultPart> => {
        const output = await outputOf(ctx, tools, call, messages);
        return {type: 'tool-result', toolCallId: call.id, toolName: call.name, output};
      }),
    );
    messages.push({role: 'tool', content: results});
  }
  throw new ByError('TASK_FAILED', `The model still called tools after ${maxRounds} rounds.`, {
    hint: 'Give it more with maxRounds, or tell it when to stop.',
  });
}

/** What the model is told of one call. */
async function outputOf(
  ctx: DurableContext,
  tools: ToolSet,
  call: ToolCall,
  messages: readonly ModelMessage[],
): Promise<Output> {
  const tool = tools[call.name];
  if (tool === undefined) return failure(`There is no tool "${call.name}".`);
  try {
    if (!(await isApproved(ctx, tool, call, messages)))
      return {type: 'execution-denied', reason: 'A person has refused it.'};
    return success(await carryOut(ctx, tool, call, messages));
  } catch (error) {
    // What went wrong in the tool is for the model to deal with; the rest ends the turn.
    if (error instanceof CallFailed || error instanceof StepFailed) return failure(messageOf(error));
    throw error;
  }
}

async function isApproved(
  ctx: DurableContext,
  {needsApproval}: Tool,
  {id, name, input}: ToolCall,
  messages: readonly ModelMessage[],
): Promise<boolean> {
  const needs =
    typeof needsApproval === 'function'
      ? await ctx.step(`approval ${id}`, async () =>
          needsApproval(input as never, {
            toolCallId: id,
            messages: [...messages],
            experimental_context: undefined,
          }),
        )
      : needsApproval === true;
  if (!needs) return true;
  const prompt = `May the tool "${name}" be called with ${JSON.stringify(input)}?`;
  return (await ctx.askUser({prompt, choices: ['yes', 'no']})) === 'yes';
}

async function carryOut(
  ctx: DurableContext,
  tool: Tool,
  {id, name, input}: ToolCall,
  messages: readonly ModelMessage[],
): Promise<unknown> {
  const agent = agentBehind(tool);
  if (agent !== undefined) {
    const {agentType, description: _description, ...options} = agent;
    const asked = isObject(input) ? input['message'] : undefined;
    return ctx.call(agentType, typeof asked === 'string' ? asked : JSON.stringify(input), options);
  }
  const {execute} = tool;
  if (execute === undefined)
    throw new StepFailed(name, `The tool "${name}" can not be carried out.`, 'Error');
  return ctx.step(`tool ${name} ${id}`, async ({signal}) => {
    const options = {
      toolCallId: id,
      messages: [...messages],
      abortSignal: signal,
      experimental_context: undefined,
    };
    const result: unknown = await execute(input, options);
    return isStream(result) ? last(result) : result;
  });
}

const isStream = (value: unknown): value is AsyncIterable<unknown> =>
  typeof value === 'object' && value !== null && Symbol.asyncIterator in value;

/** A tool may tell preliminary results; the last one counts. */
async function last(values: AsyncIterable<unknown>): Promise<unknown> {
  let result: unknown;
  for await (const value of values) result = value;
  return result;
}

const success = (value: unknown): Output =>
  typeof value === 'string' ? {type: 'text', value} : {type: 'json', value: (value ?? null) as never};
const failure = (value: string): Output => ({type: 'error-text', value});
