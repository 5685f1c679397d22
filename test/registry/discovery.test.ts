/** Services that register themselves, and clients that find them and ask them. */
import {createServer, type IncomingMessage, type ServerResponse} from 'node:http';
import type {AddressInfo} from 'node:net';
import {expect, test} from 'vitest';
import {DiscoveryHttpClient, type DiscoveryHttpOptions} from '../../src/client/discovery-http-client.js';
import {DiscoveryClient, type DiscoveryOptions} from '../../src/registry/discovery-client.js';
import {ServiceRegistry} from '../../src/registry/service-registry.js';
import {ByError} from '../../src/errors.js';
import {instancesOf, putInstance, serviceNames} from '../../src/store/services.js';
import type {Store} from '../../src/store/store.js';
import {describeEachStore, describeRedis, until, type TestStore} from '../support/stores.js';

const instance = (id: string, fields = {}) => ({
  ...{id, host: '127.0.0.1', port: 80, protocol: 'http', pathPrefix: null, weight: 1, metadata: {}},
  ...fields,
});

function registryOf(at: TestStore, store: Store, options = {}): ServiceRegistry {
  const registry = new ServiceRegistry(store, options);
  at.cleanup(() => registry.stop());
  return registry;
}

describeEachStore('a service', at => {
  test('is found while it is registered, and its heartbeat brings back what Redis forgot', async () => {
    const store = at.open();
    const registry = registryOf(at, store, {heartbeatMs: 20});
    const discovery = new DiscoveryClient(store, {cacheMs: 0});
    const {instance: mine, unregister} = await registry.register({
      ...{service: 'billing', host: '10.0.0.1', port: 8080, pathPrefix: '/api', metadata: {zone: 'a'}},
    });
    expect(mine.id).toMatch(/^billing:by-[0-9a-f]{8}$/);
    expect(await discovery.instances('billing')).toMatchObject([{...mine, pathPrefix: '/api'}]);
    const [{lastHeartbeat: first} = {lastHeartbeat: 0}] = await instancesOf(store, 'billing');
    await until(async () => ((await instancesOf(store, 'billing'))[0]?.lastHeartbeat ?? 0) > first);
    const {keys} = store;
    await store.commands.run(redis => redis.del(keys.sdActive('billing')));
    await store.commands.run(redis => redis.del(keys.sdInstances('billing')));
    await until(async () => (await discovery.instances('billing')).length === 1);
    await Promise.all([unregister(), unregister()]);
    expect(await instancesOf(store, 'billing')).toEqual([]);
    expect(await serviceNames(store)).toEqual(['billing']);
  });

  test('that is no address, or no name, is not registered', async () => {
    const store = at.open();
    const registry = registryOf(at, store);
    const good = {service: 's', host: 'h', port: 1};
    for (const bad of [
      ...[
        {service: 'a b'},
        {host: 'user@h'},
        {host: 'h/x'},
        {host: ''},
        {port: 0},
        {port: 70_000},
        {id: '?'},
      ],
    ])
      await expect(registry.register({...good, ...bad})).rejects.toMatchObject({code: 'INVALID_INPUT'});
    expect(await serviceNames(store)).toEqual([]);
  });

  test('that is silent is not found, and one of ours that was killed a day ago is taken out by the next', async () => {
    at.breaksRules('sdInstances', 'sdActive');
    const store = at.open();
    const now = 1_750_000_000_000;
    await putInstance(store, 's', instance('s:1'), now);
    await putInstance(store, 's', instance('s:2'), now - 30_001);
    await putInstance(store, 's', instance('s:by-00000001'), now - 86_400_001);
    await putInstance(store, 's', instance('s:python'), now - 86_400_001);
    await store.commands.run(redis => redis.hset(store.keys.sdInstances('s'), 's:2', 'not json'));
    await store.commands.run(redis => redis.zadd(store.keys.sdActive('s'), now, 's:gone'));
    const discovery = new DiscoveryClient(store, {now: () => now});
    expect((await discovery.instances('s')).map(({id}) => id)).toEqual(['s:1']);
    const all = new DiscoveryClient(store, {now: () => now, healthThresholdMs: -1});
    expect((await all.instances('s')).map(({id}) => id)).toEqual(['s:1', 's:by-00000001', 's:python']);
    const registry = registryOf(at, store, {now: () => now});
    await registry.register({service: 's', host: 'h', port: 1, id: 's:by-00000002'});
    all.forget('s');
    expect((await all.instances('s')).map(({id}) => id)).toEqual(['s:1', 's:by-00000002', 's:python']);
  });

  test('is looked up once for all who ask, and again when the look is old', async () => {
    at.breaksRules('sdInstances', 'sdActive');
    const store = at.open();
    let now = 1_750_000_000_000;
    let clock = 0;
    let looks = 0;
    let isAway = false;
    const counting = Object.create(store.commands) as Store['commands'];
    counting.run = (issue, options) => {
      looks++;
      const away = new ByError('REDIS_UNREACHABLE', 'away', {hint: ''});
      return isAway ? Promise.reject(away) : store.commands.run(issue, options);
    };
    await putInstance(store, 's', instance('s:1'), now);
    await putInstance(store, 's', instance('s:2'), now - 27_000);
    const options: DiscoveryOptions = {now: () => now, clock: () => clock, strategy: 'round-robin'};
    const discovery = new DiscoveryClient({...store, commands: counting}, options);
    const picked = await Promise.all([1, 2, 3, 4].map(() => discovery.pick('s')));
    expect(picked.map(one => one?.id)).toEqual(['s:1', 's:2', 's:1', 's:2']);
    expect(looks).toBe(2);
    // Between two looks the second grows too old.
    clock += 4000;
    expect((await discovery.instances('s')).map(({id}) => id)).toEqual(['s:1']);
    expect(looks).toBe(2);
    await putInstance(store, 's', instance('s:3'), now);
    clock += 1000;
    now += 5000;
    expect((await discovery.instances('s')).map(({id}) => id)).toEqual(['s:1', 's:3']);
    expect(looks).toBe(4);
    expect((await discovery.pick('s', new Set(['s:1'])))?.id).toBe('s:3');
    expect((await discovery.pick('s', new Set(['s:1', 's:3'])))?.id).toMatch(/s:[13]/);
    expect(await discovery.pick('nobody')).toBeUndefined();
    // While Redis is away the last look counts, as long as heartbeats may be believed.
    isAway = true;
    clock += 6000;
    expect(await discovery.instances('s')).toHaveLength(2);
    clock += 60_000;
    await expect(discovery.instances('s')).rejects.toMatchObject({code: 'REDIS_UNREACHABLE'});
  });
});

type Answer = (request: IncomingMessage, response: ServerResponse, body: string) => void;

describeRedis('a request to a service', at => {
  async function serve(answer: Answer): Promise<{port: number; seen: string[]}> {
    const seen: string[] = [];
    const server = createServer((request, response) => {
      let body = '';
      request.setEncoding('utf8').on('data', (text: string) => (body += text));
      request.on('end', () => {
        seen.push(`${request.method ?? ''} ${request.url ?? ''} ${body}`.trim());
        answer(request, response, body);
      });
    });
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
    at.cleanup(() => {
      server.closeAllConnections();
      server.close();
    });
    return {port: (server.address() as AddressInfo).port, seen};
  }

  async function clientOf(
    instances: readonly ReturnType<typeof instance>[],
    options: DiscoveryHttpOptions = {},
  ): Promise<DiscoveryHttpClient> {
    at.breaksRules('sdInstances', 'sdActive');
    const store = at.open();
    for (const each of instances) await putInstance(store, 's', each, 1000);
    const discovery = new DiscoveryClient(store, {now: () => 1000, strategy: 'round-robin'});
    return new DiscoveryHttpClient(discovery, {retryDelayMs: 1, ...options});
  }

  test('goes under the prefix, encoded, with its body, and comes back as it is', async () => {
    const {port, seen} = await serve((request, response, body) => {
      response.writeHead(201, {'x-two': ['a', 'b'], 'content-type': 'application/json'});
      response.end(JSON.stringify({body, type: request.headers['content-type']}));
    });
    const client = await clientOf([instance('s:1', {port, pathPrefix: '/api/v 1/'})]);
    const answer = await client.request({
      ...{service: 's', method: 'POST', path: ['users', 'a/b?c#d', 'ü'], body: {name: 'Ada'}},
      query: {q: 'x y&z', n: 1},
    });
    expect(seen).toEqual(['POST /api/v%201/users/a%2Fb%3Fc%23d/%C3%BC?q=x+y%26z&n=1 {"name":"Ada"}']);
    expect(answer).toMatchObject({status: 201, instanceId: 's:1', attempts: 1});
    expect(answer.headers['x-two']).toBe('a, b');
    expect(answer.json()).toEqual({body: '{"name":"Ada"}', type: 'application/json'});
    await expect(client.request({service: 's', path: 'a/../b'})).rejects.toMatchObject({
      code: 'INVALID_INPUT',
    });
  });

  test('that fails is tried at another instance, where doing it twice is harmless', async () => {
    const bad = await serve((_request, response) => response.writeHead(503).end('busy'));
    const good = await serve((_request, response) => response.end('fine'));
    const cut = await serve(request => request.socket.destroy());
    const dead = await serve(() => undefined);
    const two = [instance('s:1', {port: bad.port}), instance('s:2', {port: good.port})];
    expect(await (await clientOf(two)).request({service: 's'})).toMatchObject({
      ...{status: 200, instanceId: 's:2', attempts: 2},
    });
    // What may have been done is not done again, unless the caller says that it may.
    const posted = await (await clientOf(two)).request({service: 's', method: 'POST', body: 'x'});
    expect(posted).toMatchObject({status: 503, instanceId: 's:1', attempts: 1});
    expect(posted.text()).toBe('busy');
    const told = {service: 's', method: 'POST', idempotent: true} as const;
    expect(await (await clientOf(two)).request(told)).toMatchObject({instanceId: 's:2'});
    const broken = [instance('s:1', {port: cut.port}), instance('s:2', {port: good.port})];
    await expect((await clientOf(broken)).request({service: 's', method: 'PATCH'})).rejects.toMatchObject({
      code: 'SERVICE_UNAVAILABLE',
    });
    expect(await (await clientOf(broken)).request({service: 's', method: 'PUT'})).toMatchObject({
      attempts: 2,
    });
    // Nobody listens there: nothing was sent, so it may go elsewhere.
    const closed = [instance('s:1', {port: 1}), instance('s:2', {port: good.port})];
    expect(await (await clientOf(closed)).request({service: 's', method: 'POST'})).toMatchObject({
      attempts: 2,
    });
    const hanging = [instance('s:1', {port: dead.port}), instance('s:2', {port: good.port})];
    const impatient = await clientOf(hanging, {attemptTimeoutMs: 2000});
    expect(await impatient.request({service: 's'})).toMatchObject({attempts: 2, instanceId: 's:2'});
    // One alone is asked again.
    expect(await (await clientOf(two.slice(0, 1))).request({service: 's'})).toMatchObject({
      ...{status: 503, attempts: 3},
    });
  });

  test('goes only where an instance may be, follows nobody elsewhere, and takes no endless answer', async () => {
    const inner = await serve((_request, response) => response.end('secret'));
    const redirecting = await serve((_request, response) =>
      response.writeHead(302, {location: `http://127.0.0.1:${inner.port}/`}).end(),
    );
    const endless = await serve((_request, response) => {
      const timer = setInterval(() => response.write('x'.repeat(10_000)), 1);
      response.on('close', () => clearInterval(timer));
    });
    const at1 = async (fields: object, options = {}) =>
      (await clientOf([instance('s:1', fields)], options)).request({service: 's', path: 'x'});
    expect(await at1({port: redirecting.port})).toMatchObject({status: 302});
    expect(inner.seen).toEqual([]);
    for (const fields of [
      {protocol: 'file'},
      {protocol: 'http://127.0.0.1#'},
      {host: 'user:pw@127.0.0.1'},
      {host: '127.0.0.1/x'},
      {pathPrefix: '/../admin'},
      {port: 0},
    ])
      await expect(at1({port: inner.port, ...fields})).rejects.toMatchObject({code: 'SERVICE_UNAVAILABLE'});
    expect(inner.seen).toEqual([]);
    await expect(at1({port: endless.port}, {maxResponseBytes: 50_000})).rejects.toMatchObject({
      code: 'MESSAGE_TOO_LARGE',
    });
  });

  test('ends in time, when it is told to, or when nobody is there', async () => {
    const dead = await serve(() => undefined);
    const client = await clientOf([instance('s:1', {port: dead.port})]);
    await expect(client.request({service: 's', timeoutMs: 50})).rejects.toMatchObject({code: 'TIMEOUT'});
    const controller = new AbortController();
    const asking = client.request({service: 's', path: 'second', signal: controller.signal});
    // The first one's time may have passed before it got there.
    await until(() => dead.seen.some(line => line.includes('second')));
    controller.abort(new Error('enough'));
    await expect(asking).rejects.toThrow('enough');
    await expect(client.request({service: 'nobody'})).rejects.toMatchObject({code: 'SERVICE_UNAVAILABLE'});
  });
});
