import assert from 'node:assert/strict';
import {after, before, describe, test} from 'node:test';
import {createTestStack} from 'by-toolkit/testing';
import agent from '../src/{{name}}.js';

describe('{{agentType}}', () => {
  let stack: Awaited<ReturnType<typeof createTestStack>>;
  before(async () => {
    stack = await createTestStack({agents: [agent]});
  });
  after(async () => {
    await stack.close();
  });

  test('counts words', async () => {
    const run = await stack.send('{{agentType}}', 'three short words');
    assert.equal(await run.text(), '3 words');
    assert.equal(await run.status(), 'COMPLETED');
  });
});
