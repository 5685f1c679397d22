/** One call of a model as a step: streamed into the session while it comes, and kept once it is whole. */
import {streamText, type LanguageModel, type LanguageModelUsage, type ModelMessage, type ToolSet} from 'ai';
import type {DurableContext, StepOptions} from '../../worker/durable/context.js';

export interface ModelCall {
  readonly model: LanguageModel;
  readonly system?: string;
  readonly messages: readonly ModelMessage[];
  /** What the model may call. Their `execute` is not run here: calls of tools come back in the answer. */
  readonly tools?: ToolSet;
  /** Handed to the AI SDK as they are: temperature, maxOutputTokens, providerOptions, … */
  readonly settings?: Omit<
    Parameters<typeof streamText>[0],
    'model' | 'system' | 'messages' | 'prompt' | 'tools' | 'abortSignal' | 'maxRetries'
  >;
  /** Of the step: by default a call that fails is tried three times in all. */
  readonly retry?: StepOptions['retry'];
  readonly timeoutMs?: number;
}

export interface ToolCall {
  readonly id: string;
  readonly name: string;
  readonly input: unknown;
}

/** What is kept of a call: JSON. */
export interface ModelAnswer {
  readonly text: string;
  readonly toolCalls: readonly ToolCall[];
  /** What the model said, for the next call. */
  readonly messages: readonly ModelMessage[];
  readonly finishReason: string;
  readonly usage: Pick<LanguageModelUsage, 'inputTokens' | 'outputTokens' | 'totalTokens'>;
}

const RETRY = {maxAttempts: 3, baseMs: 1000, maxMs: 10_000};

/**
 * @param name of the step; different for each call of an execution.
 * @throws what the model's provider throws, once the tries are used up.
 */
export function modelCall(ctx: DurableContext, name: string, call: ModelCall): Promise<ModelAnswer> {
  const {model, system, messages, tools, settings, retry = RETRY, timeoutMs} = call;
  return ctx.step(
    name,
    async ({signal}): Promise<ModelAnswer> => {
      const result = streamText({
        ...settings,
        model,
        ...(system === undefined ? {} : {system}),
        messages: [...messages],
        ...(tools === undefined ? {} : {tools: withoutCode(tools)}),
        abortSignal: signal,
        // The step tries again, and says so in the journal.
        maxRetries: 0,
        onError: () => undefined,
      });
      const toolCalls: ToolCall[] = [];
      for await (const part of result.fullStream) {
        if (part.type === 'text-delta') await ctx.emitChunk(part.text);
        else if (part.type === 'reasoning-delta') await ctx.emitReasoning(part.text);
        else if (part.type === 'tool-call')
          toolCalls.push({id: part.toolCallId, name: part.toolName, input: part.input});
        else if (part.type === 'error') throw part.error;
        else if (part.type === 'abort') signal.throwIfAborted();
      }
      const [{messages: said}, text, finishReason, usage] = await Promise.all([
        result.response,
        result.text,
        result.finishReason,
        result.usage,
      ]);
      const {inputTokens, outputTokens, totalTokens} = usage;
      return plain({
        text,
        toolCalls,
        messages: said,
        finishReason,
        usage: {inputTokens, outputTokens, totalTokens},
      });
    },
    {retry, ...(timeoutMs === undefined ? {} : {timeoutMs})},
  );
}

/** Tools run as steps of their own: not while the model speaks. */
function withoutCode(tools: ToolSet): ToolSet {
  return Object.fromEntries(
    Object.entries(tools).map(([name, {execute: _execute, ...tool}]) => [name, tool as ToolSet[string]]),
  );
}

/** The same in every turn, also in the first: as it comes back from the journal. */
const plain = <T>(value: T): T => JSON.parse(JSON.stringify(value)) as T;
