/** `by run approve` and `by run allowlist`, as a person uses them. */
import {afterAll, beforeAll, describe, expect, test} from 'vitest';
import {startEmbeddedStore} from '../../src/dev/embedded/start.js';
import {silentLogger} from '../../src/log.js';
import {AgentService} from '../../src/orchestration/service.js';
import {openWorkspace} from '../../src/store/orchestration.js';
import {pendingApprovals} from '../../src/store/approvals.js';
import {openStore, type Store} from '../../src/store/store.js';
import {defineAgent} from '../../src/worker/agent.js';
import {startWorker, type WorkerHandle} from '../../src/worker/runner.js';
import {until} from '../support/stores.js';
import {jsonOf, runBy} from './run-by.js';

const counter = defineAgent({
  type: 'counter',
  run: async ctx => ({content: (await ctx.spawnSandboxed(['wc', '-c'], {stdin: 'four'})).stdout.trim()}),
});

describe('by run approve', {timeout: 180_000}, () => {
  let server: Awaited<ReturnType<typeof startEmbeddedStore>>;
  let store: Store;
  let worker: WorkerHandle;
  let service: AgentService;
  const stop = new AbortController();
  let served: Promise<void>;
  const by = (...args: readonly string[]) => runBy(args, {env: {BY_REDIS_URL: server.url}});
  const {data, failure} = jsonOf(by);

  beforeAll(async () => {
    server = await startEmbeddedStore();
    store = openStore({url: server.url});
    worker = await startWorker(store, {agents: [counter], log: silentLogger});
    service = new AgentService({store});
    served = service.start({signal: stop.signal});
  });
  afterAll(async () => {
    stop.abort();
    await served;
    await worker.stop({drainMs: 0});
    store.close();
    await server.close();
  });

  const asked = async () => {
    await service.acceptAgentCommand('default', {
      agentType: 'counter',
      message: 'go',
      policy: {ask: 'on-miss'},
    });
    return until(async () => (await pendingApprovals(openWorkspace(store, 'default')))[0] ?? false);
  };

  test('lists what waits, and decides it once', async () => {
    const {approvalId, runId} = await asked();
    const shown = await by('run', 'approve');
    expect(shown.stdout).toMatch(/APPROVAL\s+RUN\s+TOOL\s+SUBJECT\s+ASKED\s+EXPIRES/);
    expect(shown.stdout).toContain('/usr/bin/wc -c');
    expect(await data('run', 'approve')).toMatchObject({
      approvals: [{approval_id: approvalId, run_id: runId, tool: 'exec', state: 'pending'}],
    });
    const allowed = await by('run', 'approve', approvalId.slice(0, 16), '--once', '--as', 'maria');
    expect(allowed.stdout.trim()).toBe('allowed once by maria (claimed identity, not authenticated)');
    expect(await failure('run', 'approve', approvalId, '--deny')).toMatchObject({
      ...{code: 'APPROVAL_ALREADY_DECIDED', details: {state: 'allowed_once', decided_by: 'maria'}},
    });
    await until(async () => {
      const {run} = (await data('run', 'show', runId)) as {run: {status: string}};
      return run.status === 'ok';
    });
    expect((await by('run', 'show', runId)).stdout).toMatch(
      /security allowlist enforced\s+ask on-miss enforced/,
    );
  });

  test('whoever waits for a task is told what it waits for, and how to decide it', async () => {
    const submitted = by('task', 'submit', 'go', '--agent', 'counter', '--ask', 'always', '--wait');
    const {approvalId, runId} = await until(
      async () => (await pendingApprovals(openWorkspace(store, 'default')))[0] ?? false,
    );
    // What is decided before anybody has seen it is not told.
    await until(
      async () => (await service.getRunInteraction('default', runId)).state === 'waiting_for_approval',
    );
    await data('run', 'approve', approvalId, '--once');
    const {code, stdout, stderr} = await submitted;
    expect({code, stdout: stdout.trim()}).toEqual({code: 0, stdout: '4'});
    expect(stderr).toMatch(
      new RegExp(`approval +.*wc -c.*: by run approve ${approvalId} --once, --always or --deny`),
    );
  });

  test('is asked and answered like any question', async () => {
    const {approvalId, sessionId, runId} = await asked();
    await until(async () => (await by('reply', sessionId)).stdout.includes('May the agent run the program'));
    const listed = await by('reply', sessionId);
    expect(listed.stdout).toContain('[allow once/allow always/deny]');
    expect(listed.stdout + listed.stderr).toContain(`--question ${approvalId}`);
    expect(await failure('reply', sessionId, 'perhaps')).toMatchObject({code: 'INVALID_INPUT'});
    expect((await by('reply', sessionId, 'deny')).stdout).toContain('answered');
    expect(await failure('reply', sessionId, 'yes', '--question', approvalId)).toMatchObject({exit: 11});
    await until(async () => {
      const {run} = (await data('run', 'show', runId)) as {run: {status: string}};
      return run.status === 'error';
    });
  });

  test('a run whose agent may ask no person says so', async () => {
    const {run_id: runId = ''} = (await data(
      ...['task', 'submit', 'go', '--agent', 'counter', '--no-interactive', '--security', 'full'],
    )) as {run_id?: string};
    const show = () => by('run', 'show', runId);
    await until(async () => (await show()).stdout.includes('worker '));
    expect((await show()).stdout).toContain('interactive off enforced');
  });

  test('refuses what it can not understand', async () => {
    expect(await failure('run', 'approve', 'apr_01M80877PZTNW9H9Z4ZSEKEJ8Y')).toMatchObject({
      code: 'USAGE',
      exit: 2,
    });
    expect(await failure('run', 'approve', '--once')).toMatchObject({code: 'USAGE'});
    expect(await failure('run', 'approve', 'apr_01M80877PZTNW9H9Z4ZSEKEJ8Y', '--once')).toMatchObject({
      ...{code: 'APPROVAL_NOT_FOUND', exit: 4},
    });
  });

  test('the allowlist is added to, shown and taken from', async () => {
    expect((await by('run', 'allowlist', 'list', 'counter')).stderr).toContain('nothing without a question');
    await data('run', 'allowlist', 'add', 'counter', 'tool:search', '--as', 'maria');
    expect(await data('run', 'allowlist', 'list', 'counter')).toMatchObject({
      patterns: [{pattern: 'tool:search', added_by: 'maria'}],
    });
    await data('run', 'allowlist', 'remove', 'counter', 'tool:search');
    expect(await failure('run', 'allowlist', 'remove', 'counter', 'tool:search')).toMatchObject({exit: 4});
    expect(await failure('run', 'allowlist', 'add', 'counter', 'wc')).toMatchObject({code: 'INVALID_INPUT'});
  });
});
