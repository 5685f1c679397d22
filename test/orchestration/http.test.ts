/* eslint-disable @typescript-eslint/no-unsafe-assignment, @typescript-eslint/no-unsafe-call, @typescript-eslint/no-unsafe-member-access, @typescript-eslint/no-unsafe-return --
   what comes over the wire is looked at as it is */
/** The run layer over HTTP, asked by fetch. */
import {request as httpRequest} from 'node:http';
import {expect, test} from 'vitest';
import {AgentAPI} from '../../src/orchestration/api.js';
import {openApiDocument} from '../../src/orchestration/http/openapi.js';
import {ROUTES} from '../../src/orchestration/http/routes.js';
import {serveHttp, type HttpOptions} from '../../src/orchestration/http/server.js';
import {AgentService} from '../../src/orchestration/service.js';
import type {Store} from '../../src/store/store.js';
import {describeEachStore, until, type TestStore} from '../support/stores.js';
import {echo, orchestrate, QUICK, work, workspaceOf} from './support.js';

type Doc = Record<string, any>; // eslint-disable-line @typescript-eslint/no-explicit-any

async function serve(at: TestStore, store: Store, options: Partial<HttpOptions> = {}) {
  const api = new AgentAPI({runtime: new AgentService({store, times: QUICK})});
  const serving = await serveHttp({api, ...options});
  at.cleanup(() => serving.close(0));
  const ask = async (line: string, body?: unknown, headers: Record<string, string> = {}) => {
    const [method = '', path = ''] = line.split(' ');
    const response = await fetch(serving.url + path, {
      method,
      headers: {...(body === undefined ? {} : {'content-type': 'application/json'}), ...headers},
      ...(body === undefined ? {} : {body: typeof body === 'string' ? body : JSON.stringify(body)}),
    });
    return {status: response.status, headers: response.headers, doc: (await response.json()) as Doc};
  };
  return {...serving, ask};
}

interface Seen {
  readonly id: string;
  readonly event: string;
  readonly data: Doc;
}

/** What a stream says until there is enough of it. */
async function listen(
  url: string,
  isEnough: (seen: readonly Seen[]) => boolean,
  headers: Record<string, string> = {},
): Promise<Seen[]> {
  const stop = new AbortController();
  const response = await fetch(url, {headers, signal: stop.signal});
  expect(response.headers.get('content-type')).toBe('text/event-stream');
  const seen: Seen[] = [];
  let rest = '';
  const reader = response.body!.pipeThrough(new TextDecoderStream()).getReader();
  while (!isEnough(seen)) {
    const {value, done} = await reader.read();
    if (done) break;
    const blocks = (rest + value).split('\n\n');
    rest = blocks.pop() ?? '';
    for (const block of blocks) {
      const field = (name: string) => new RegExp(`^${name}: (.*)$`, 'm').exec(block)?.[1] ?? '';
      if (!block.startsWith(':'))
        seen.push({id: field('id'), event: field('event'), data: JSON.parse(field('data')) as Doc});
    }
  }
  stop.abort();
  return seen;
}

const isDone = (seen: readonly Seen[]) =>
  seen.some(({event, data}) => event === 'state' && data['task'].status === 'done');

describeEachStore('the run layer over HTTP', at => {
  test('a task that is submitted is done by a worker; its records, log and stream tell of it', async () => {
    const store = at.open();
    await work(at, store, [echo]);
    orchestrate(at, workspaceOf(store));
    const {ask, url} = await serve(at, store);
    const submitted = await ask('POST /v1/tasks', {
      ...{message: 'hi', agent_type: 'echo', label: 'greeting', idempotency_key: 'k'},
      policy: {security: 'full', network_enabled: false, retry: {max_attempts: 3}},
    });
    expect(submitted).toMatchObject({status: 202, doc: {accepted: true, idempotent_hit: false}});
    const {task, run_id} = submitted.doc;
    expect(task.policy).toMatchObject({network_enabled: false, retry: {max_attempts: 3}});
    const seen = await listen(`${url}/v1/tasks/${task.task_id}/events`, isDone);
    expect(seen.filter(({event}) => event === 'log').map(({data}) => data['data'])).toEqual([
      ...['hi', 'you said hi'],
    ]);
    expect((await ask(`GET /v1/tasks/${task.task_id}`)).doc).toMatchObject({
      task: {status: 'done', label: 'greeting'},
      run: {run_id, status: 'ok', result: {text: 'you said hi'}},
    });
    const listed = await ask('GET /v1/tasks?status=done&label=greeting&limit=5');
    expect(listed.doc['tasks']).toMatchObject([{task_id: task.task_id}]);
    const log = await ask(`GET /v1/tasks/${task.task_id}/logs?from=2&limit=1`);
    expect(log.doc).toMatchObject({entries: [{seq: 2, data: 'you said hi'}], next: 3});
    expect((await ask(`GET /v1/runs?task_id=${task.task_id}`)).doc['runs']).toMatchObject([{run_id}]);
    expect((await ask(`GET /v1/runs/${run_id}`)).doc).toMatchObject({run: {run_id, status: 'ok'}});
    expect((await ask(`GET /v1/runs/${run_id}/attempts`)).doc['attempts']).toMatchObject([{attempt_no: 1}]);
    expect((await ask(`GET /v1/runs/${run_id}/events`)).doc['events'][0]).toMatchObject({type: 'accepted'});
    const {snapshots} = (await ask(`GET /v1/runs/${run_id}/snapshots`)).doc;
    expect(snapshots.at(-1)).toMatchObject({marker: 'finished'});
    const {interaction} = (await ask(`GET /v1/runs/${run_id}/interaction`)).doc;
    expect(interaction).toMatchObject({run_id, state: 'closed'});
    expect((await ask(`POST /v1/runs/${run_id}/cancel`)).doc).toMatchObject({outcome: 'already_finished'});
    expect(await ask(`POST /v1/tasks/${task.task_id}/cancel`, {reason: 'late'})).toMatchObject({
      ...{status: 409, doc: {error: {code: 'TASK_FINAL', details: {status: 'done'}}}},
    });
    const archived = await ask(`POST /v1/tasks/${task.task_id}/archive`);
    expect(archived.doc['task'].archived_at).toBeGreaterThan(0);
    expect((await ask('GET /v1/tasks')).doc).toEqual({tasks: [], cursor: null});
  });

  test('a task that waits takes input, and is cancelled; another workspace knows nothing of it', async () => {
    const {ask} = await serve(at, at.open());
    const {doc} = await ask('POST /v1/tasks', {message: 'wait', agent_type: 'nobody'});
    const {run_id, task, warnings} = doc;
    expect(warnings).toHaveLength(1);
    const input = {message: 'and this', idempotency_key: 'i'};
    const said = await ask(`POST /v1/runs/${run_id}/input`, input);
    expect(said.doc).toMatchObject({task_id: task.task_id, outcome: 'queued', idempotent_hit: false});
    expect((await ask(`POST /v1/runs/${run_id}/input`, input)).doc['idempotent_hit']).toBe(true);
    const elsewhere = await ask(`GET /v1/tasks/${task.task_id}`, undefined, {'by-workspace': 'other'});
    expect(elsewhere).toMatchObject({status: 404, doc: {error: {code: 'TASK_NOT_FOUND'}}});
    expect((await ask('GET /v1/tasks?workspace=other')).doc['tasks']).toEqual([]);
    expect((await ask(`POST /v1/tasks/${task.task_id}/cancel`, {mode: 'graceful'})).doc).toMatchObject({
      ...{task_id: task.task_id, outcome: 'cancelled', status: 'cancelled'},
    });
    expect((await ask('GET /v1/approvals')).doc).toEqual({approvals: []});
    expect(await ask('POST /v1/approvals/apr_none', {decision: 'deny', by: 'ada'})).toMatchObject({
      ...{status: 404, doc: {error: {code: 'APPROVAL_NOT_FOUND'}}},
    });
  });

  test('agent profiles are made, changed at a version, and deleted', async () => {
    const {ask} = await serve(at, at.open());
    const made = await ask('POST /v1/agents', {agent_key: 'writer', default_policy: {ask: 'always'}});
    expect(made).toMatchObject({status: 201, doc: {agent: {agent_key: 'writer', version: 1}}});
    const {agent_id} = made.doc['agent'];
    expect(made.doc['agent'].default_policy).toMatchObject({ask: 'always', ask_fallback: 'deny'});
    expect((await ask('POST /v1/agents', {agent_key: 'writer'})).status).toBe(409);
    const changed = await ask(`PATCH /v1/agents/${agent_id}?if_version=1`, {concurrency: 2});
    expect(changed.doc['agent']).toMatchObject({concurrency: 2, version: 2});
    expect(await ask(`PATCH /v1/agents/${agent_id}?if_version=1`, {concurrency: 3})).toMatchObject({
      ...{status: 409, doc: {error: {code: 'VERSION_CONFLICT', details: {version: 2}}}},
    });
    expect((await ask('GET /v1/agents')).doc['agents']).toHaveLength(1);
    expect((await ask(`GET /v1/agents/${agent_id}`)).doc['agent']).toMatchObject({agent_id});
    expect((await ask(`DELETE /v1/agents/${agent_id}?force=true`)).doc).toEqual({deleted: true});
    expect((await ask(`GET /v1/agents/${agent_id}`)).status).toBe(404);
  });

  test('schedules are made, looked up, changed, paused, resumed, run and deleted', async () => {
    const {ask} = await serve(at, at.open());
    const wanted = {
      ...{external_id: 'daily', agent_type: 'echo', cron_expr: '0 9 * * *', prompt: 'report'},
      task_defaults: {lane: 'night', policy: {network_enabled: false}},
    };
    const made = await ask('POST /v1/schedules', wanted);
    expect(made).toMatchObject({
      ...{status: 201, doc: {schedule: {...wanted, state: 'active', missed_policy: 'once'}}},
    });
    expect((await ask('POST /v1/schedules', {...wanted, prompt: 'other'})).status).toBe(409);
    expect((await ask('GET /v1/schedules/daily')).doc).toEqual(made.doc);
    expect((await ask('GET /v1/schedules?agent=echo&active=true')).doc['schedules']).toHaveLength(1);
    expect((await ask('GET /v1/schedules?active=false')).doc['schedules']).toEqual([]);
    const changed = await ask('PATCH /v1/schedules/daily', {jitter_ms: 1000, max_runs: null});
    expect(changed.doc['schedule']).toMatchObject({jitter_ms: 1000, version: 2});
    const paused = await ask('POST /v1/schedules/daily/pause', {note: 'holiday'});
    expect(paused.doc['schedule']).toMatchObject({state: 'paused', pause_note: 'holiday'});
    expect((await ask('POST /v1/schedules/daily/resume')).doc['schedule']).toMatchObject({state: 'active'});
    const run = await ask('POST /v1/schedules/daily/trigger', {idempotency_key: 'once'});
    expect(run).toMatchObject({
      ...{status: 202, doc: {idempotent_hit: false, task: {message: 'report', lane: 'night'}}},
    });
    expect(run.doc['run_id']).toMatch(/^run_/);
    expect((await ask('POST /v1/schedules/daily/trigger', {idempotency_key: 'once'})).doc).toMatchObject({
      ...{idempotent_hit: true, task: {task_id: run.doc['task'].task_id}},
    });
    expect((await ask('DELETE /v1/schedules/daily?cancel_running=true')).doc).toEqual({deleted: true});
    expect((await ask('DELETE /v1/schedules/daily')).doc).toEqual({deleted: false});
    const preview = await ask(
      'GET /v1/cron/preview?cron=30+2+*+*+*&timezone=America/New_York&from=1772841600000&n=3',
    );
    expect(preview.doc['ticks'].map((tick: Doc) => tick['note'])).toEqual([null, 'gap', null]);
  });

  test.for<[string, unknown, number, string, string?]>([
    ['POST /v1/tasks', {message: 'x', agentType: 'echo'}, 400, 'INVALID_INPUT', 'agentType'],
    ['POST /v1/tasks', {message: 'x'}, 400, 'INVALID_INPUT', 'give either agent_type or agent_id'],
    ['POST /v1/tasks', {message: 'x', agent_type: 'e', policy: {retry: {max: 1}}}, 400, 'INVALID_INPUT'],
    ['POST /v1/tasks', '[]', 400, 'INVALID_INPUT'],
    ['POST /v1/tasks', '{"a":', 400, 'INVALID_INPUT', 'no JSON'],
    ['POST /v1/tasks', 'x'.repeat(2_000_000), 413, 'MESSAGE_TOO_LARGE'],
    ['GET /v1/tasks?limit=0', undefined, 400, 'INVALID_INPUT', 'limit'],
    ['GET /v1/tasks?limit=1&limit=2', undefined, 400, 'INVALID_INPUT', 'twice'],
    ['GET /v1/tasks?colour=red', undefined, 400, 'INVALID_INPUT', 'colour'],
    ['GET /v1/tasks?constructor=1', undefined, 400, 'INVALID_INPUT', 'constructor'],
    ['GET /v1/tasks?cursor=abc', undefined, 400, 'CURSOR_INVALID'],
    ['GET /v1/tasks?workspace=A%20B', undefined, 400, 'INVALID_INPUT', 'workspace'],
    ['GET /v1/tasks/%E0%A4%A', undefined, 400, 'INVALID_INPUT'],
    ['GET /v1/tasks/task_none/events', undefined, 404, 'TASK_NOT_FOUND'],
    ['GET /v1/tasks/task_none/events?cursor=1', undefined, 400, 'CURSOR_INVALID'],
    ['GET /v1/runs/run_none', undefined, 404, 'RUN_NOT_FOUND'],
    ['POST /v1/runs/run_none/input', {message: 'x', discard_buffered: true}, 400, 'INVALID_INPUT'],
    ['GET /v1/schedules/none', undefined, 404, 'SCHEDULE_NOT_FOUND'],
    ['POST /v1/schedules', {agent_type: 'e', prompt: 'x', cron_expr: '61 * * * *'}, 400, 'CRON_INVALID'],
    ['GET /v1/nothing', undefined, 404, 'NOT_FOUND'],
    ['DELETE /v1/tasks', undefined, 405, 'USAGE', 'Use GET, POST.'],
  ])('%s with %j is refused', async ([line, body, status, code, said = ''], {expect: check}) => {
    const {ask} = await serve(at, at.open());
    const answer = await ask(line, body);
    check([answer.status, answer.doc['error'].code]).toEqual([status, code]);
    check(JSON.stringify(answer.doc['error'])).toContain(said);
  });

  test('a stream that is taken up again at any event has neither gap nor repetition', async () => {
    const store = at.open();
    await work(at, store, [echo]);
    const {ask, url} = await serve(at, store);
    const {doc} = await ask('POST /v1/tasks', {message: 'hi', agent_type: 'echo'});
    const stream = `${url}/v1/tasks/${doc['task'].task_id}/events`;
    // One reader is there from the beginning, while it happens.
    const live = listen(stream, isDone);
    orchestrate(at, workspaceOf(store));
    const told = (seen: readonly Seen[]) =>
      seen.filter(({event}) => event !== 'state').map(({event, data}) => `${event} ${data['seq']}`);
    await live;
    const all = await listen(stream, isDone);
    expect(told(await live).sort()).toEqual(told(all).sort());
    expect(all.length).toBeGreaterThan(4);
    for (const [index, {id}] of all.entries()) {
      const rest = await listen(stream, isDone, {'last-event-id': id});
      expect(told([...all.slice(0, index + 1), ...rest])).toEqual(told(all));
    }
    const byQuery = await listen(`${stream}?cursor=${all[1]?.id}`, isDone);
    expect(told([...all.slice(0, 2), ...byQuery])).toEqual(told(all));
    expect((await listen(`${stream}?cursor=end`, isDone)).map(({event}) => event)).toEqual(['state']);
  });

  test('streams end with the server, and no more than so many are open', async () => {
    const {ask, url, ...serving} = await serve(at, at.open(), {maxStreams: 1});
    const {doc} = await ask('POST /v1/tasks', {message: 'hi', agent_type: 'nobody'});
    const path = `/v1/tasks/${doc['task'].task_id}/events`;
    const open = await fetch(url + path);
    const refused = await ask(`GET ${path}`);
    expect([refused.status, refused.headers.get('retry-after')]).toEqual([503, '5']);
    const text = open.text();
    await serving.close();
    expect(await text).toContain('event: state');
    await expect(fetch(`${url}/healthz`)).rejects.toThrow();
  });

  test('a stream whose reader has left makes room for another', async () => {
    const {ask, url} = await serve(at, at.open(), {maxStreams: 1});
    const {doc} = await ask('POST /v1/tasks', {message: 'hi', agent_type: 'nobody'});
    const stream = `${url}/v1/tasks/${doc['task'].task_id}/events`;
    const leave = new AbortController();
    await fetch(stream, {signal: leave.signal});
    leave.abort();
    await until(async () => {
      const stop = new AbortController();
      const {status} = await fetch(stream, {signal: stop.signal});
      stop.abort();
      return status === 200;
    });
  });

  test('a token is asked for, and everything but the document and the sign of life needs it', async () => {
    const token = 'a-secret-of-some-length';
    const {ask} = await serve(at, at.open(), {token});
    expect((await ask('GET /healthz')).doc).toEqual({ok: true});
    expect((await ask('GET /openapi.json')).doc['openapi']).toBe('3.1.0');
    const closed = await ask('GET /v1/tasks');
    expect([closed.status, closed.headers.get('www-authenticate')]).toEqual([401, 'Bearer']);
    expect(closed.doc['error'].code).toBe('DENIED');
    expect((await ask('GET /v1/tasks', undefined, {authorization: `Bearer ${token}x`})).status).toBe(401);
    expect((await ask('GET /v1/nothing')).status).toBe(401);
    expect((await ask('GET /v1/tasks', undefined, {authorization: `Bearer ${token}`})).status).toBe(200);
  });

  test('without a token it is for programs of this machine: no other names, no pages from elsewhere', async () => {
    const {url} = await serve(at, at.open());
    const {host, port} = new URL(url);
    const status = (headers: Record<string, string>) =>
      new Promise((resolve, reject) => {
        httpRequest({host: '127.0.0.1', port, path: '/v1/tasks', headers}, response => {
          resolve(response.resume().statusCode);
        })
          .once('error', reject)
          .end();
      });
    expect(await status({host})).toBe(200);
    expect(await status({host: `localhost:${port}`, origin: `http://localhost:${port}`})).toBe(200);
    expect(await status({host: `evil.example:${port}`})).toBe(403);
    expect(await status({host: 'localhost.evil.example'})).toBe(403);
    expect(await status({host, origin: 'https://evil.example'})).toBe(403);
    expect(await status({host, origin: 'http://localhost:3000'})).toBe(403);
    expect(await status({host, origin: 'null'})).toBe(403);
    const form = await fetch(`${url}/v1/tasks`, {method: 'POST', body: '{"message":"x","agent_type":"e"}'});
    expect(form.status).toBe(415);
    const api = new AgentAPI({runtime: new AgentService({store: at.open()})});
    await expect(serveHttp({api, host: '0.0.0.0'})).rejects.toMatchObject({code: 'INVALID_CONFIG'});
    await expect(serveHttp({api, token: 'short'})).rejects.toMatchObject({code: 'INVALID_CONFIG'});
    await expect(serveHttp({api, port: Number(port)})).rejects.toMatchObject({code: 'CONFLICT'});
  });
});

test('the OpenAPI document has each route, and what it refers to is there', () => {
  const document = JSON.parse(JSON.stringify(openApiDocument('1.0.0'))) as Doc;
  const operations = Object.entries(document['paths'] as Doc).flatMap(([path, methods]) =>
    Object.keys(methods as Doc).map(method => `${method.toUpperCase()} ${path}`),
  );
  expect(operations.sort()).toEqual(ROUTES.map(({method, path}) => `${method} ${path}`).sort());
  const ids = ROUTES.map(({name}) => name);
  expect(new Set(ids).size).toBe(ids.length);
  const schemas = document['components'].schemas as Doc;
  const text = JSON.stringify(document);
  const refs = [...text.matchAll(/"\$ref":"([^"]*)"/g)].map(match => match[1] ?? '');
  expect(refs.length).toBeGreaterThan(50);
  for (const ref of refs) expect(schemas, ref).toHaveProperty([ref.replace('#/components/schemas/', '')]);
  const fields = [...text.matchAll(/"required":(\[[^\]]*\])/g)].flatMap(
    match => JSON.parse(match[1] ?? '[]') as string[],
  );
  expect(fields.filter(field => /[A-Z]/.test(field))).toEqual([]);
  expect(Object.keys(schemas['SubmitTask'].properties as Doc)).toContain('idempotency_key');
  expect(schemas['AgentTask'].required).toContain('task_id');
  expect(Object.keys(schemas['AgentTask'].properties as Doc)).toContain('queue_mode');
});

test('of a store that can not be reached, a client is told only that', async () => {
  const {openStore} = await import('../../src/store/store.js');
  const store = openStore({url: 'redis://127.0.0.1:1', commandTimeoutMs: 300});
  const serving = await serveHttp({api: new AgentAPI({runtime: new AgentService({store})})});
  try {
    const response = await fetch(`${serving.url}/v1/tasks`);
    expect([response.status, response.headers.get('retry-after')]).toEqual([503, '5']);
    const {error} = (await response.json()) as Doc;
    expect(error.code).toMatch(/^REDIS_/);
    expect(JSON.stringify(error)).not.toContain('127.0.0.1');
  } finally {
    await serving.close(0);
    store.close();
  }
});
