/** The pages of a service, asked over real sockets. */
import {afterEach, expect, test} from 'vitest';
import {ByError} from '../../src/errors.js';
import {
  parseHealthAddress,
  startHealthServer,
  type HealthPages,
  type HealthServer,
} from '../../src/observe/health-server.js';

const well: HealthPages = {
  alive: () => ({ok: true, reason: 'alive'}),
  ready: async () => ({ok: true, reason: 'serving', facts: {under_way: 3}}),
  metrics: async () => '# TYPE by_x gauge\nby_x 1\n',
};

const servers: HealthServer[] = [];
afterEach(async () => {
  for (const server of servers.splice(0)) await server.close();
});

async function serve(pages: Partial<HealthPages>): Promise<string> {
  const server = await startHealthServer({host: '127.0.0.1', port: 0}, {...well, ...pages});
  servers.push(server);
  return `http://127.0.0.1:${server.port}`;
}

test('what is well answers 200, with its facts', async () => {
  const url = await serve({});
  const alive = await fetch(`${url}/healthz`);
  expect([alive.status, await alive.json()]).toEqual([200, {ok: true, reason: 'alive'}]);
  const ready = await fetch(`${url}/readyz?verbose=1`);
  expect([ready.status, await ready.json()]).toEqual([200, {ok: true, reason: 'serving', under_way: 3}]);
  expect(ready.headers.get('cache-control')).toBe('no-store');
  const metrics = await fetch(`${url}/metrics`);
  expect(metrics.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8');
  expect(await metrics.text()).toBe('# TYPE by_x gauge\nby_x 1\n');
});

test('what is not well answers 503 with a word', async () => {
  const url = await serve({
    alive: () => ({ok: false, reason: 'deaf'}),
    ready: async () => ({ok: false, reason: 'draining'}),
  });
  for (const [page, reason] of [
    ['healthz', 'deaf'],
    ['readyz', 'draining'],
  ]) {
    const answer = await fetch(`${url}/${page}`);
    expect([answer.status, await answer.json()]).toEqual([503, {ok: false, reason}]);
  }
});

test('an error is told by its code, never by its text: that may hold a password', async () => {
  const hidden = 'redis://user:secret@db.internal';
  const url = await serve({
    ready: () => Promise.reject(new ByError('REDIS_UNREACHABLE', hidden, {hint: ''})),
    metrics: () => Promise.reject(new Error(hidden)),
  });
  const ready = await fetch(`${url}/readyz`);
  expect([ready.status, await ready.json()]).toEqual([503, {ok: false, reason: 'redis_unreachable'}]);
  const metrics = await fetch(`${url}/metrics`);
  expect([metrics.status, await metrics.json()]).toEqual([503, {ok: false, reason: 'internal'}]);
});

test('a page that hangs is answered for, and holds up no other', async () => {
  const url = await serve({ready: () => new Promise(() => undefined)});
  const hanging = fetch(`${url}/readyz`);
  expect((await fetch(`${url}/healthz`)).status).toBe(200);
  const late = await hanging;
  expect([late.status, await late.json()]).toEqual([503, {ok: false, reason: 'timeout'}]);
});

test('it is read only, and has no other pages', async () => {
  const url = await serve({});
  const posted = await fetch(`${url}/healthz`, {method: 'POST', body: 'x'});
  expect([posted.status, posted.headers.get('allow')]).toEqual([405, 'GET, HEAD']);
  expect((await fetch(`${url}/`)).status).toBe(404);
  const head = await fetch(`${url}/metrics`, {method: 'HEAD'});
  expect([head.status, await head.text()]).toEqual([200, '']);
});

test('an address that is taken is a conflict that names it', async () => {
  const url = await serve({});
  const port = Number(new URL(url).port);
  await expect(startHealthServer({host: '127.0.0.1', port}, well)).rejects.toMatchObject({
    code: 'CONFLICT',
    message: expect.stringContaining(`127.0.0.1:${port}`) as string,
  });
});

test('a bare port is of this machine only', () => {
  expect(parseHealthAddress('9464')).toEqual({host: '127.0.0.1', port: 9464});
  expect(parseHealthAddress('0.0.0.0:80')).toEqual({host: '0.0.0.0', port: 80});
  expect(parseHealthAddress('[::1]:9464')).toEqual({host: '::1', port: 9464});
  expect(parseHealthAddress('localhost:0')).toEqual({host: 'localhost', port: 0});
});

test.each(['', 'x', '127.0.0.1', ':9464', '127.0.0.1:', '65536', '::1:9464', 'http://127.0.0.1:9464', '-1'])(
  '"%s" is no address',
  text => {
    expect(() => parseHealthAddress(text)).toThrow(expect.objectContaining({code: 'INVALID_INPUT'}) as Error);
  },
);
