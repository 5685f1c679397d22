/** Calls of language models, told in the words of OpenTelemetry's conventions for generative AI. */
import type {SpanAttributes, SpanEnd, SpanStart} from '../protocol/tracer.js';

/** Which model is asked, and for what. */
export interface ModelCall {
  /** As the provider calls it. */
  readonly model: string;
  /** The provider: `openai`, `anthropic`, `aws.bedrock`, ... */
  readonly system?: string;
  /** Default `chat`. */
  readonly operation?: string;
  /** Unix milliseconds. Default: now. Only for a call that is told when it is over. */
  readonly startedAt?: number;
}

/** What it took. */
export interface ModelUsage {
  readonly inputTokens?: number;
  readonly outputTokens?: number;
  /** Of the input, those read from the provider's cache. */
  readonly cachedInputTokens?: number;
  /** The model that answered, if it is not the one that was asked. */
  readonly responseModel?: string;
  readonly finishReasons?: readonly string[];
}

export function modelSpan(
  facts: Omit<SpanStart, 'operation'>,
  {model, system, operation = 'chat'}: ModelCall,
): {readonly start: SpanStart; readonly end: (usage: ModelUsage) => Pick<SpanEnd, 'attributes' | 'tokens'>} {
  const attributes: SpanAttributes = {
    'gen_ai.operation.name': operation,
    'gen_ai.provider.name': system,
    // What the conventions called it before: older backends look for it.
    'gen_ai.system': system,
    'gen_ai.request.model': model,
  };
  return {
    start: {...facts, operation: 'model.call', name: `${operation} ${model}`, kind: 'client', attributes},
    end: usage => ({attributes: usageAttributes(usage), tokens: tokensOf(usage)}),
  };
}

const usageAttributes = (usage: ModelUsage): SpanAttributes => ({
  'gen_ai.usage.input_tokens': usage.inputTokens,
  'gen_ai.usage.output_tokens': usage.outputTokens,
  'gen_ai.usage.cache_read.input_tokens': usage.cachedInputTokens,
  'gen_ai.response.model': usage.responseModel,
  'gen_ai.response.finish_reasons': usage.finishReasons,
});

/** As the SDKs spell them in their records. */
function tokensOf({inputTokens, outputTokens}: ModelUsage): Record<string, number> {
  if (inputTokens === undefined && outputTokens === undefined) return {};
  const [prompt, completion] = [inputTokens ?? 0, outputTokens ?? 0];
  return {prompt_tokens: prompt, completion_tokens: completion, total_tokens: prompt + completion};
}
