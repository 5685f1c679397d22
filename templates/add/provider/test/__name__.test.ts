import assert from 'node:assert/strict';
import {after, describe, test} from 'node:test';
import type {ProviderContext, WakeupRequest} from 'by-toolkit';
import provider from '../src/{{name}}.js';

const request = {targetAgentType: '{{agentType}}'} as WakeupRequest;
const context = (online: boolean): ProviderContext => ({
  signal: new AbortController().signal,
  isOnline: async () => online,
});

describe('the provider {{name}}', () => {
  after(() => provider.close?.());

  test('starts what is not there, once', async () => {
    assert.equal((await provider.wakeup(request, context(false))).status, 'STARTING');
    assert.equal((await provider.wakeup(request, context(false))).status, 'STARTING');
  });

  test('starts nothing where a worker is online', async () => {
    assert.deepEqual(await provider.wakeup(request, context(true)), {status: 'READY'});
  });
});
