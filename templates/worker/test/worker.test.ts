import assert from 'node:assert/strict';
import {after, before, describe, test} from 'node:test';
import {createTestStack} from 'by-toolkit/testing';
import agent from '../src/worker.js';

describe('{{agentType}}', () => {
  let stack: Awaited<ReturnType<typeof createTestStack>>;
  before(async () => {
    stack = await createTestStack({agents: [agent]});
  });
  after(async () => {
    await stack.close();
  });

  test('answers a document with its keywords and key sentences', async () => {
    const run = await stack.send('{{agentType}}', 'Redis keeps streams. A stream keeps entries. Entries wait in a stream.');
    const text = await run.text();
    assert.match(text, /^Keywords: .*stream/);
    assert.match(text, /- A stream keeps entries\./);
    assert.equal(await run.status(), 'COMPLETED');
  });

  test('fails clearly when there is nothing to read', async () => {
    const run = await stack.send('{{agentType}}', '```\nonly code\n```');
    assert.equal(await run.status(), 'FAILED');
  });

  test('stops when it is cancelled', async () => {
    const run = await stack.send('{{agentType}}', 'Every word of this sentence takes its time. '.repeat(50));
    await run.cancel();
    assert.equal(await run.status(), 'CANCELLED');
  });
});
