/** The provider that asks a service over HTTPS: guarantees.md §2, row "HTTP WakeupProvider". */
import type {ServerResponse} from 'node:http';
import {afterEach, beforeAll, describe, expect, test} from 'vitest';
import {httpProvider, type HttpProviderOptions} from '../../src/availability/http-provider.js';
import {isLoopbackAddress, isPublicAddress} from '../../src/availability/public-address.js';
import {SeenNonces, signWakeup, verifyWakeupSignature} from '../../src/availability/wakeup-signature.js';
import {decodeWakeupRequest} from '../../src/protocol/wakeup.js';
import {
  makeCertificate,
  startWakeupService,
  type Certificate,
  type Received,
  type WakeupService,
} from '../support/wakeup-service.js';

const secret = 's'.repeat(32);
const request = decodeWakeupRequest({
  ...{execution_id: 'exec-1', target_agent_type: 'ocr', user_code: 'u-1', timeout_ms: 5000},
  command_payload: {body: {content: 'private words'}},
});
const never = () => Promise.resolve(false);

let certificate: Certificate;
beforeAll(() => {
  certificate = makeCertificate('DNS:wake.example', 'IP:127.0.0.1');
});
const services: WakeupService[] = [];
afterEach(async () => {
  for (const service of services.splice(0)) await service.stop();
});

async function serve(answer: (response: ServerResponse, request: Received) => void, tls = certificate) {
  const service = await startWakeupService(answer, tls);
  services.push(service);
  return service;
}

/** Ask it by its name, which a resolver of the test's knows. */
function ask(
  service: {readonly port: number},
  options: Partial<HttpProviderOptions> = {},
  signal = new AbortController().signal,
) {
  const provider = httpProvider({
    url: `https://wake.example:${service.port}/start`,
    ...{secret, allowLoopback: true, ca: certificate.cert},
    resolve: () => Promise.resolve([{address: '127.0.0.1'}]),
    ...options,
  });
  return provider.wakeup(request, {signal, isOnline: never});
}

const json = (doc: unknown) => (response: ServerResponse) => void response.end(JSON.stringify(doc));

describe('the HTTP provider', () => {
  test('asks with a signature its receiver can check, says who is wanted, and not what for', async () => {
    const service = await serve(json({status: 'READY', worker_ids: ['w-1', '../w'], reason: 'started'}));
    expect(await ask(service)).toEqual({status: 'READY', workerIds: ['w-1'], reason: 'started'});
    const [{url, headers, body} = {url: '', headers: {}, body: ''}] = service.received;
    expect(url).toBe('/start');
    expect(JSON.parse(body)).toMatchObject({
      target_agent_type: 'ocr',
      execution_id: 'exec-1',
      user_code: 'u-1',
    });
    expect(body).not.toContain('private words');
    expect(verifyWakeupSignature({headers, body, secret})).toEqual({ok: true});
  });

  test.each([
    [
      {status: 'QUEUED', reason: 'x'},
      {status: 'QUEUED', reason: 'x'},
    ],
    [
      {status: 'REJECTED', reason: 'no', retry_after_ms: 5},
      {status: 'REJECTED', reason: 'no', retryAfterMs: 5},
    ],
    [
      {status: 'FALLBACK', selected_agent_type: 'other'},
      {status: 'FALLBACK', agentType: 'other'},
    ],
    [
      {status: 'FALLBACK', selected_agent_type: '../x'},
      {status: 'FAILED', reason: 'a fallback to nobody'},
    ],
    [{status: 'GONE'}, {status: 'FAILED', reason: 'the service answered with a status that does not exist'}],
    [[], {status: 'FAILED', reason: 'HTTP provider: The document is not a JSON object.'}],
  ])('understands %j', async (doc, decision) => {
    expect(await ask(await serve(json(doc)))).toEqual(decision);
  });

  test('takes an empty 202 for STARTING, and an error for a failure that may say when to come again', async () => {
    expect(await ask(await serve(response => void response.writeHead(202).end()))).toEqual({
      status: 'STARTING',
    });
    const busy = await serve(response => void response.writeHead(503, {'retry-after': '7'}).end('busy'));
    expect(await ask(busy)).toEqual({
      status: 'FAILED',
      reason: 'the service answered 503',
      retryAfterMs: 7000,
    });
  });

  test('is not sent on', async () => {
    const inside = await serve(json({status: 'READY'}));
    const front = await serve(
      response => void response.writeHead(307, {location: `https://127.0.0.1:${inside.port}/`}).end(),
    );
    expect(await ask(front)).toMatchObject({
      status: 'FAILED',
      reason: expect.stringContaining('307') as string,
    });
    expect(inside.received).toEqual([]);
  });

  test('reads no more than 64 KiB, and waits no longer than it may, also for an answer that trickles', async () => {
    const long = await serve(response => void response.end(JSON.stringify({reason: 'x'.repeat(70_000)})));
    expect(await ask(long)).toMatchObject({
      status: 'FAILED',
      reason: expect.stringContaining('65536') as string,
    });
    const late = {status: 'FAILED', reason: 'HTTP provider: the service did not answer in time'};
    expect(await ask(await serve(() => undefined), {timeoutMs: 100})).toEqual(late);
    const trickle = await serve(response => {
      const timer = setInterval(() => response.write(' '), 10);
      response.on('close', () => clearInterval(timer));
    });
    expect(await ask(trickle, {timeoutMs: 300})).toEqual(late);
    const unresolved = {url: 'https://wake.example/', resolve: () => new Promise<never>(() => undefined)};
    expect(await ask({port: 0}, {...unresolved, timeoutMs: 100})).toEqual(late);
    const gone = new AbortController();
    const asked = ask(await serve(() => gone.abort()), {}, gone.signal);
    expect(await asked).toEqual(late);
  });

  test('trusts no certificate of an unknown authority, or for another name', async () => {
    const service = await serve(json({status: 'READY'}));
    // Here without `ca`: the well-known authorities have not signed it.
    const provider = httpProvider({
      url: `https://127.0.0.1:${service.port}/`,
      secret,
      allowLoopback: true,
    });
    const context = {signal: new AbortController().signal, isOnline: never};
    expect(await provider.wakeup(request, context)).toMatchObject({status: 'FAILED'});
    const other = await serve(json({status: 'READY'}), makeCertificate('DNS:other.example'));
    expect(await ask(other)).toMatchObject({status: 'FAILED'});
    expect([...service.received, ...other.received]).toEqual([]);
  });

  test('refuses what must not be asked, before anything is', () => {
    const make = (options: Partial<HttpProviderOptions>) => () =>
      httpProvider({url: 'https://wake.example/', secret, ...options});
    expect(make({})).not.toThrow();
    const refused: Partial<HttpProviderOptions>[] = [
      {url: 'http://wake.example/'},
      {url: 'ftp://wake.example/', allowLoopback: true},
      {url: 'https://user:password@wake.example/'},
      {url: 'not a url'},
      {url: 'https://evil.example/', hosts: ['wake.example']},
      {url: 'https://wake.example:8443/', hosts: ['wake.example']},
      {url: () => 'https://wake.example/'},
      {secret: 'short'},
    ];
    for (const options of refused) {
      expect(make(options)).toThrow(expect.objectContaining({code: 'INVALID_CONFIG'}) as Error);
      expect(make(options)).not.toThrow(/password@|short$/);
    }
  });

  test('asks only hosts of its list, also where the address depends on the request', async () => {
    const service = await serve(json({status: 'READY'}));
    const url = ({targetAgentType}: {targetAgentType: string}) =>
      targetAgentType === 'ocr' ? `https://evil.example:${service.port}/` : undefined;
    expect(await ask(service, {url, hosts: ['wake.example']})).toMatchObject({
      status: 'FAILED',
      reason: expect.stringContaining('may not ask') as string,
    });
    expect(await ask(service, {url: () => undefined, hosts: ['wake.example']})).toMatchObject({
      status: 'REJECTED',
    });
    expect(service.received).toEqual([]);
  });
});

describe('a name that leads inside', () => {
  test.each([
    ...[
      '127.0.0.1',
      '10.1.2.3',
      '172.31.0.1',
      '192.168.1.1',
      '169.254.169.254',
      '100.64.0.1',
      '0.0.0.0',
      '224.0.0.1',
    ],
    ...[
      '255.255.255.255',
      '::1',
      '::',
      'fe80::1',
      'fc00::1',
      'fd00:ec2::254',
      '::ffff:127.0.0.1',
      '::ffff:10.0.0.1',
    ],
    ...[
      '::ffff:a9fe:a9fe',
      '64:ff9b::a00:1',
      '2002:7f00:1::',
      '2001:db8::1',
      '2001::1',
      'ff02::1',
      'not an address',
    ],
  ])('is refused: %s', async address => {
    const service = await serve(json({status: 'READY'}));
    expect(isPublicAddress(address)).toBe(false);
    const refused = {status: 'FAILED', reason: expect.stringContaining('no public address') as string};
    const alone = {allowLoopback: false, resolve: () => Promise.resolve([{address}])};
    expect(await ask(service, alone)).toMatchObject(refused);
    const amongGood = {
      allowLoopback: false,
      resolve: () => Promise.resolve([{address: '93.184.215.14'}, {address}]),
    };
    expect(await ask(service, amongGood)).toMatchObject(refused);
    expect(service.received).toEqual([]);
  });

  test.each([
    'https://127.0.0.1/',
    'https://[::1]/',
    'https://[::ffff:127.0.0.1]/',
    'https://2130706433/',
    'https://0x7f.1/',
    'https://10.0.0.1/',
  ])('is refused where it is the address itself: %s', async url => {
    const answer = await ask({port: 0}, {url, allowLoopback: false});
    expect(answer).toMatchObject({
      status: 'FAILED',
      reason: expect.stringContaining('no public address') as string,
    });
  });

  test('only the second time it is looked up is not looked up a second time', async () => {
    const service = await serve(json({status: 'READY'}));
    const answers = ['127.0.0.1', '10.0.0.1'];
    let lookups = 0;
    const resolve = () => Promise.resolve([{address: answers[lookups++] ?? ''}]);
    expect(await ask(service, {resolve})).toMatchObject({status: 'READY'});
    expect(lookups).toBe(1);
  });

  test('without TLS is this machine or nowhere', async () => {
    const plain = await startWakeupService(json({status: 'READY'}));
    services.push(plain);
    const url = `http://wake.example:${plain.port}/`;
    expect(await ask(plain, {url})).toMatchObject({status: 'READY'});
    const away = {url, resolve: () => Promise.resolve([{address: '93.184.215.14'}])};
    expect(await ask(plain, away)).toMatchObject({status: 'FAILED'});
    expect(plain.received).toHaveLength(1);
  });

  test('and public ones are told apart', () => {
    for (const address of [
      '93.184.215.14',
      '1.1.1.1',
      '2606:2800:21f:cb07:6820:80da:af6b:8b2c',
      '172.32.0.1',
    ])
      expect(isPublicAddress(address)).toBe(true);
    expect(['127.9.9.9', '::1'].map(isLoopbackAddress)).toEqual([true, true]);
    expect(['128.0.0.1', '::2', '::ffff:127.0.0.1'].map(isLoopbackAddress)).toEqual([false, false, false]);
  });
});

describe('the signature of a wakeup', () => {
  const now = 1_700_000_000_000;
  const body = '{"a":1}';
  const headers = signWakeup(body, secret, now);
  const verdict = (over: Partial<Parameters<typeof verifyWakeupSignature>[0]>) => {
    const {ok, ...rest} = verifyWakeupSignature({headers, body, secret, now, ...over});
    return ok ? 'ok' : (rest as {reason: string}).reason;
  };

  test('holds for these bytes, this secret, and five minutes either way', () => {
    expect(verdict({})).toBe('ok');
    expect(verdict({body: Buffer.from(body)})).toBe('ok');
    expect(verdict({body: `${body} `})).toBe('wrong-signature');
    expect(verdict({secret: 't'.repeat(32)})).toBe('wrong-signature');
    expect(verdict({secret: ''})).toBe('wrong-signature');
    expect(verdict({secret: []})).toBe('wrong-signature');
    for (const [offset, outcome] of [
      [300, 'ok'],
      [-300, 'ok'],
      [301, 'expired'],
      [-301, 'expired'],
    ] as const)
      expect(verdict({now: now + offset * 1000})).toBe(outcome);
  });

  test('covers time and nonce, and takes nothing else for one', () => {
    const later = String(Number(headers['by-timestamp']) + 1);
    expect(verdict({headers: {...headers, 'by-timestamp': later}})).toBe('wrong-signature');
    expect(verdict({headers: {...headers, 'by-nonce': 'f'.repeat(32)}})).toBe('wrong-signature');
    expect(verdict({headers: {}})).toBe('unsigned');
    for (const odd of ['', 'v1=', 'v1=00', 'v2=' + '0'.repeat(64), headers['by-signature']?.slice(0, -1)])
      expect(verdict({headers: {...headers, 'by-signature': odd}})).toBe('unsigned');
    for (const odd of ['1e9', '-1', 'NaN', '1 ', '9'.repeat(13)])
      expect(verdict({headers: {...headers, 'by-timestamp': odd}})).toBe('unsigned');
    expect(verdict({headers: {...headers, 'by-signature': [headers['by-signature'] ?? '']}})).toBe(
      'unsigned',
    );
  });

  test('of two secrets either does, while one replaces the other', () => {
    expect(verdict({secret: ['n'.repeat(32), secret]})).toBe('ok');
  });

  test('is good once; what was not signed is not remembered', () => {
    const nonces = new SeenNonces();
    expect(verdict({nonces, secret: 't'.repeat(32)})).toBe('wrong-signature');
    expect(verdict({nonces})).toBe('ok');
    expect(verdict({nonces})).toBe('repeated');
    expect(verdict({nonces, now: now + 299_000})).toBe('repeated');
    const next = signWakeup(body, secret, now + 700_000);
    expect(verdict({nonces, headers: next, now: now + 700_000})).toBe('ok');
  });
});
