/**
 * Nothing is published before a person has said yes. The question may stay open for weeks: nothing runs meanwhile.
 *
 *   by send publisher "We ship on Monday." --follow
 *
 * Who does not answer within a week has said no.
 */
import {defineAgent} from 'by-toolkit';

const WEEK_MS = 7 * 24 * 3_600_000;

/** @param publish makes a text public. It is given a key that is the same however often it is tried. */
export const publisher = (publish: (text: string, key: string) => Promise<string>) =>
  defineAgent({
    type: 'publisher',
    async run(ctx, ask) {
      let text = ask.text;
      for (;;) {
        const answer = await ctx.askUser({
          prompt: `Publish "${text}"?`,
          choices: ['yes', 'no', 'change'],
          deadlineMs: WEEK_MS,
          default: 'no',
        });
        if (answer === 'no') return {content: 'Nothing was published.'};
        if (answer === 'yes') break;
        text = String(await ctx.askUser('What should it say?'));
      }
      const address = await ctx.step('publish', () => publish(text, ctx.executionId));
      await ctx.emitArtifact(address);
      return {content: `Published: ${address}`};
    },
  });

export default publisher((_text, key) => Promise.resolve(`https://example.org/posts/${key}`));
