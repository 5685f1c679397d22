import assert from 'node:assert/strict';
import {after, before, describe, test} from 'node:test';
import {eventKind, eventText} from 'by-toolkit';
import {createTestStack} from 'by-toolkit/testing';
import plugin from '../src/plugin.js';
import {measuresIn, toMetric} from '../src/units.js';
import agent from '../src/worker.js';

describe('{{name}}', () => {
  let stack: Awaited<ReturnType<typeof createTestStack>>;
  before(async () => {
    stack = await createTestStack({agents: [agent], plugins: [plugin], pluginSettings: {units: 'SI'}});
  });
  after(async () => {
    await stack.close();
  });

  test('gives the agent its tool', async () => {
    const run = await stack.send('{{agentType}}', 'A marathon has 26.2 miles, a foot 12 inches.');
    assert.equal(await run.text(), '26.2 miles are 42.2 km\n12 inches are 30.5 cm');
    assert.equal(await run.status(), 'COMPLETED');
  });

  test('gives the agent its prompt, with the settings of the project', async () => {
    const run = await stack.send('{{agentType}}', '3 feet');
    const thought = await run.waitFor(event => eventKind(event) === 'reasoning');
    assert.equal(eventText(thought), 'Answer in SI units: 3 feet');
  });
});

test('measures are found as they are written', () => {
  assert.deepEqual(measuresIn('6 Feet, 2inches'), [
    {value: 6, unit: 'feet'},
    {value: 2, unit: 'inches'},
  ]);
  assert.equal(toMetric(100, 'pounds'), '45.4 kg');
});
