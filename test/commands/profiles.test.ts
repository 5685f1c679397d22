/** `by agent create|update|delete|scale|resume` and `by agent list --pools`, as a person uses them. */
import {mkdtempSync, rmSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {afterAll, beforeAll, describe, expect, test} from 'vitest';
import {startEmbeddedStore} from '../../src/dev/embedded/start.js';
import {changePool, listPools} from '../../src/orchestration/profiles.js';
import {AgentService} from '../../src/orchestration/service.js';
import {openWorkspace} from '../../src/store/orchestration.js';
import {openStore, type Store} from '../../src/store/store.js';
import {jsonOf, runBy} from './run-by.js';

describe('profiles and pools', {timeout: 180_000}, () => {
  let server: Awaited<ReturnType<typeof startEmbeddedStore>>;
  let store: Store;
  let folder: string;
  const by = (...args: readonly string[]) => runBy(args, {env: {BY_REDIS_URL: server.url}});
  const {data, failure} = jsonOf(by);
  const file = (name: string, doc: unknown) => {
    writeFileSync(join(folder, name), JSON.stringify(doc));
    return `@${join(folder, name)}`;
  };

  beforeAll(async () => {
    server = await startEmbeddedStore();
    store = openStore({url: server.url});
    folder = mkdtempSync(join(tmpdir(), 'by-profiles-'));
  });
  afterAll(async () => {
    rmSync(folder, {recursive: true});
    store.close();
    await server.close();
  });
  const submit = (agentType: string) =>
    new AgentService({store}).acceptAgentCommand('default', {agentType, message: 'go'});

  test('a profile is made, changed at the version that was seen, and deleted', async () => {
    const policy = file('policy.json', {security: 'deny', retry: {max_attempts: 5}});
    const made = await by('agent', 'create', 'writer', '--concurrency', '2', '--policy', policy);
    expect(made.stdout).toMatch(/^writer {3}created \(agt_\w+\), agent type writer, 2 at once in each pool/);
    expect(await failure('agent', 'create', 'writer')).toMatchObject({code: 'AGENT_EXISTS', exit: 11});
    expect((await submit('writer')).task.policy).toMatchObject({security: 'deny'});
    expect(await data('agent', 'update', 'writer', '--inactive', '--if-version', '1')).toMatchObject({
      agent: {agent_key: 'writer', active: false, version: 2, default_policy: {security: 'deny'}},
    });
    expect(await failure('agent', 'update', 'writer', '--active', '--if-version', '1')).toMatchObject({
      ...{code: 'VERSION_CONFLICT', exit: 11},
    });
    await expect(submit('writer')).rejects.toMatchObject({code: 'AGENT_INACTIVE'});
    expect(await failure('agent', 'delete', 'writer', '--yes')).toMatchObject({code: 'AGENT_IN_USE'});
    await data('agent', 'delete', 'writer', '--yes', '--force');
    expect(await failure('agent', 'delete', 'writer', '--yes')).toMatchObject({
      code: 'AGENT_NOT_FOUND',
      exit: 4,
    });
  });

  test('what can not be a profile is refused', async () => {
    expect(await failure('agent', 'create', 'No Good')).toMatchObject({code: 'INVALID_INPUT', exit: 2});
    expect(await failure('agent', 'create', 'w2', '--config', file('c.json', {password: 'x'}))).toMatchObject(
      {
        ...{code: 'INVALID_INPUT', message: expect.stringContaining('secret') as string},
      },
    );
    expect(await failure('agent', 'create', 'w2', '--config', '@nowhere.json')).toMatchObject({
      code: 'INVALID_INPUT',
    });
    expect(await failure('agent', 'update', 'w2')).toMatchObject({code: 'USAGE'});
    expect(await failure('agent', 'scale', 'nobody', '3')).toMatchObject({code: 'AGENT_NOT_FOUND'});
  });

  test('pools are listed, scaled and resumed', async () => {
    await submit('reader');
    const ws = openWorkspace(store, 'default');
    const mine = async () => (await listPools(ws)).filter(({agentType}) => agentType === 'reader');
    const [pool] = await mine();
    await changePool(ws, pool!.key, one => ({
      ...one,
      status: 'degraded',
      failures: 5,
      openUntilAt: Date.now() + 60_000,
    }));
    const shown = await by('agents', 'list', '--pools', '--type', 'reader');
    expect(shown.stdout).toMatch(
      /execclass_\w+\s+reader\s+-\s+degraded\s+0\/4\s+1\s+5 failures, probe in \d+s/,
    );
    expect(await data('agent', 'resume', 'reader')).toEqual({resumed: [pool!.key]});
    expect(await mine()).toMatchObject([{status: 'healthy', failures: 0}]);
    expect((await by('agent', 'scale', 'reader', '0')).stdout).toContain('paused: nothing new is sent');
    expect(await mine()).toMatchObject([{desired: 0}]);
    expect((await by('status')).stdout).toMatch(/pools\s+\d+ healthy/);
  });
});
