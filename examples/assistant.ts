/**
 * A model of the AI SDK that uses tools: one is a function, one is an agent, and one asks a person first.
 *
 *   by send assistant "Book a table in Oslo" --follow
 *
 * Give `assistant` a model of any provider, for example `openai('gpt-5')` of @ai-sdk/openai. Without one a toy speaks, which
 * calls every tool there is and then repeats what it heard.
 */
import {tool, type LanguageModel} from 'ai';
import {convertArrayToReadableStream, MockLanguageModelV3} from 'ai/test';
import {defineAgent} from 'by-toolkit';
import {agentAsTool, modelLoop} from 'by-toolkit/ai-sdk';
import {z} from 'zod';

/** @param book is given a key that is the same however often it is tried. */
export const assistant = (model: LanguageModel, book: (town: string, key: string) => Promise<string>) =>
  defineAgent({
    type: 'assistant',
    async run(ctx, ask) {
      const tools = {
        today: tool({
          description: 'What day it is.',
          inputSchema: z.object({}),
          execute: () => 'Saturday',
        }),
        opening_hours: agentAsTool({
          agentType: 'opening_hours',
          description: 'When the restaurants of a town are open.',
        }),
        book_table: tool({
          description: 'Books a table in a town.',
          inputSchema: z.object({town: z.string()}),
          needsApproval: true,
          execute: ({town}, {toolCallId}) => book(town, `${ctx.executionId}/${toolCallId}`),
        }),
      };
      const {text} = await modelLoop(ctx, {
        model,
        system: 'You book tables.',
        messages: [{role: 'user', content: ask.text}],
        tools,
      });
      return {content: text};
    },
  });

export const openingHours = defineAgent({
  type: 'opening_hours',
  run: (_ctx, ask) => ({content: `${ask.text}: six to ten`}),
});

export function toyModel(): LanguageModel {
  const usage = {
    inputTokens: {total: 1, noCache: 1, cacheRead: 0, cacheWrite: 0},
    outputTokens: {total: 1, text: 1, reasoning: 0},
  };
  return new MockLanguageModelV3({
    doStream: ({prompt, tools = []}) => {
      const heard = prompt.flatMap(({role, content}) =>
        role !== 'tool'
          ? []
          : content.flatMap(part => (part.type === 'tool-result' ? [JSON.stringify(part.output)] : [])),
      );
      const words = heard.map(text => text.replace(/.*"value":"([^"]*)".*/, '$1. '));
      const finish = (reason: 'stop' | 'tool-calls') =>
        ({type: 'finish', finishReason: {unified: reason, raw: undefined}, usage}) as const;
      const spoken = [
        {type: 'text-start', id: '1'} as const,
        ...words.map(delta => ({type: 'text-delta', id: '1', delta}) as const),
        {type: 'text-end', id: '1'} as const,
        finish('stop'),
      ];
      const calling = tools.map(({name}, at) => ({
        ...({type: 'tool-call', toolCallId: `call-${at}`, toolName: name} as const),
        input: JSON.stringify({message: 'Oslo', town: 'Oslo'}),
      }));
      const stream =
        heard.length > 0
          ? convertArrayToReadableStream(spoken)
          : convertArrayToReadableStream([...calling, finish('tool-calls')]);
      return Promise.resolve({stream});
    },
  });
}

export default [
  assistant(toyModel(), (town, key) => Promise.resolve(`a table in ${town} (${key})`)),
  openingHours,
];
