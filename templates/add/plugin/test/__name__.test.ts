import assert from 'node:assert/strict';
import {after, before, describe, test} from 'node:test';
import {defineAgent} from 'by-toolkit';
import {createTestStack} from 'by-toolkit/testing';
import plugin from '../src/{{name}}.js';

describe('the plugin {{name}}', () => {
  let stack: Awaited<ReturnType<typeof createTestStack>>;
  before(async () => {
    const agent = defineAgent({
      type: '{{agentType}}',
      run: (ctx, ask) => ({content: ctx.prompt('greeting', {who: ask.text})}),
    });
    stack = await createTestStack({agents: [agent], plugins: [plugin]});
  });
  after(async () => {
    await stack.close();
  });

  test('brings its prompt', async () => {
    const run = await stack.send('{{agentType}}', 'Ada');
    assert.equal(await run.text(), 'Greet Ada, warmly.');
  });
});
