/**
 * A model that streams its answer and asks for tools on the way. The model here is a toy; the loop around it is the real one.
 *
 *   by send chat "What is the weather in Oslo and Rome?" --follow
 *
 * Each answer of the model and each tool is a step: what was paid for once is kept, whatever happens to the worker.
 */
import {setTimeout as pause} from 'node:timers/promises';
import {defineAgent} from 'by-toolkit';

export type Message =
  | {readonly role: 'user' | 'assistant'; readonly content: string}
  | {readonly role: 'tool'; readonly tool: string; readonly content: string};

/** What the model said: a text, and the tools it wants to know more from. */
interface Reply {
  readonly text: string;
  readonly tools: readonly {readonly tool: string; readonly about: string}[];
}

const MOST_ROUNDS = 8;

export const chat = defineAgent({
  type: 'chat',
  async run(ctx, ask) {
    const talk: Message[] = [{role: 'user', content: ask.text}];
    for (let round = 1; round <= MOST_ROUNDS; round++) {
      const reply = await ctx.step(`model ${round}`, async ({signal}): Promise<Reply> => {
        let text = '';
        const tools: Reply['tools'][number][] = [];
        for await (const piece of toyModel(talk, signal)) {
          if (typeof piece === 'string') {
            text += piece;
            await ctx.emitChunk(piece);
          } else tools.push(piece);
        }
        return {text, tools};
      });
      talk.push({role: 'assistant', content: reply.text});
      if (reply.tools.length === 0) return {content: reply.text};
      // Side by side: a tool is as good an agent as any, and may need a person or a day.
      const results = await ctx.callAll(reply.tools.map(({tool, about}) => [tool, about]));
      for (const [i, {tool}] of reply.tools.entries())
        talk.push({role: 'tool', tool, content: String(results[i])});
    }
    return {content: 'I can not find an end.'};
  },
});

export const weather = defineAgent({
  type: 'weather',
  run: (_ctx, ask) => ({content: `${ask.text}: ${ask.text.length % 2 === 0 ? 'rain' : 'sun'}`}),
});

/** Asks for the weather of every town it is told of, and then repeats what it heard, word by word. */
async function* toyModel(
  talk: readonly Message[],
  signal: AbortSignal,
): AsyncGenerator<string | {readonly tool: string; readonly about: string}> {
  const heard = talk.filter(({role}) => role === 'tool');
  const question = talk[0]?.content ?? '';
  const towns = [...question.matchAll(/(?<!^)\b\p{Lu}\p{L}+/gu)].map(([town]) => town);
  const text = heard.length > 0 ? heard.map(({content}) => content).join(', ') : 'Let me look. ';
  for (const piece of text.split(/(?<=\s)/)) {
    yield piece;
    await pause(1, undefined, {signal});
  }
  if (heard.length === 0) for (const about of towns) yield {tool: 'weather', about};
}
