import assert from 'node:assert/strict';
import {after, before, describe, test} from 'node:test';
import {createTestStack, projectWorker} from 'by-toolkit/testing';

describe('{{agentType}}', () => {
  let stack: Awaited<ReturnType<typeof createTestStack>>;
  before(async () => {
    stack = await createTestStack(await projectWorker('{{entry}}'));
  });
  after(async () => {
    await stack.close();
  });

  test('answers', async () => {
    const run = await stack.send('{{agentType}}', 'Say what your agent is asked.');
    assert.notEqual(await run.text(), '');
    assert.equal(await run.status(), 'COMPLETED');
  });
});
