/** The provider that scales a Deployment, against an API server played over TLS. */
import {afterEach, beforeAll, beforeEach, expect, test} from 'vitest';
import {
  kubernetesProvider,
  type KubernetesProviderOptions,
} from '../../src/availability/kubernetes-provider.js';
import type {KubernetesAccess} from '../../src/config/kubeconfig.js';
import {decodeWakeupRequest} from '../../src/protocol/wakeup.js';
import {startFakeKubernetes, type FakeKubernetes} from '../support/kubernetes-api.js';
import {makeCertificate, type Certificate} from '../support/wakeup-service.js';

let certificate: Certificate;
beforeAll(() => {
  certificate = makeCertificate('DNS:kubernetes.example', 'IP:127.0.0.1');
});
let api: FakeKubernetes;
beforeEach(async () => {
  api = await startFakeKubernetes(certificate);
  api.scale('agents/ocr', 0);
});
afterEach(() => api.stop());

const PLACE = 'agents/ocr';

function wake(
  options: Partial<KubernetesProviderOptions> = {},
  access: Partial<KubernetesAccess> = {},
  {timeoutMs = 30_000, online = async () => (api.replicas.get(PLACE) ?? 0) > 0} = {},
) {
  const provider = kubernetesProvider({
    ...{namespace: 'agents', deployment: 'ocr'},
    access: {
      server: new URL(`https://127.0.0.1:${api.port}`),
      ca: certificate.cert,
      token: async () => api.token,
      ...access,
    },
    ...options,
  });
  return provider.wakeup(
    decodeWakeupRequest({execution_id: 'exec-1', target_agent_type: 'ocr', timeout_ms: timeoutMs}),
    {signal: new AbortController().signal, isOnline: online, onlineWorkers: async () => ['w-1']},
  );
}

const failed = (reason: RegExp) => ({status: 'FAILED', reason: expect.stringMatching(reason) as string});
const patches = () => api.asked.filter(({what}) => what.startsWith('PATCH'));

test('scales up from nothing, once, and is READY when a worker is online', async () => {
  const all = await Promise.all(Array.from({length: 5}, () => wake({replicas: 2})));
  expect(all).toEqual(Array(5).fill({status: 'READY', workerIds: ['w-1']}));
  expect(api.replicas.get(PLACE)).toBe(2);
  expect(JSON.parse(patches()[0]?.body ?? '')).toMatchObject({spec: {replicas: 2}});
});

test('never scales down, also when somebody scales up just then', async () => {
  api.scale(PLACE, 4);
  expect(await wake({replicas: 2})).toMatchObject({status: 'READY'});
  expect(patches()).toEqual([]);
  api.scale(PLACE, 1);
  api.before = what => {
    if (what.startsWith('PATCH') && api.replicas.get(PLACE) === 1) api.scale(PLACE, 7);
  };
  expect(await wake({replicas: 3})).toMatchObject({status: 'READY'});
  expect(api.replicas.get(PLACE)).toBe(7);
});

test('gives up when it is always too late', async () => {
  api.before = what => {
    if (what.startsWith('PATCH')) api.scale(PLACE, 0);
  };
  expect(await wake()).toMatchObject(failed(/409.*modified/));
  expect(api.replicas.get(PLACE)).toBe(0);
});

test('STARTING, while pods that are asked for have not come', async () => {
  const answer = await wake({}, {}, {timeoutMs: 100, online: async () => false});
  expect(answer).toEqual({
    status: 'STARTING',
    reason: 'Deployment agents/ocr has 1 replica, no worker is online yet',
  });
});

test('the token is read for each request, because it changes', async () => {
  const tokens = ['token-1', 'token-2'];
  api.before = () => (api.token = tokens[0] ?? '');
  expect(await wake({}, {token: async () => tokens[0]})).toMatchObject({status: 'READY'});
  tokens.shift();
  expect(await wake({}, {token: async () => tokens[0]})).toMatchObject({status: 'READY'});
});

test.each([
  ['a token nobody knows', {token: async () => 'old'}, /does not know us \(401\)/],
  ['no token', {token: async () => undefined}, /401/],
  ['an authority that is not the server’s', {ca: undefined}, /certificate|self.signed/],
  ['a certificate for another name', {serverName: 'other.example'}, /altnames|does not match/],
] as [string, Partial<KubernetesAccess>, RegExp][])('is FAILED with %s', async (_what, access, reason) => {
  const answer = await wake({}, access);
  expect(answer).toMatchObject(failed(reason));
  expect(JSON.stringify(answer)).not.toContain('token-1');
  expect(api.replicas.get(PLACE)).toBe(0);
});

test('another name of the certificate can be the one that counts', async () => {
  expect(await wake({}, {serverName: 'kubernetes.example'})).toMatchObject({status: 'READY'});
});

test('is FAILED for a Deployment that is not there', async () => {
  expect(await wake({deployment: 'other'})).toMatchObject(failed(/no Deployment agents\/other/));
});

test('refuses names that lead elsewhere, and numbers that can not be', () => {
  const access: KubernetesAccess = {server: new URL('https://x'), token: async () => undefined};
  for (const options of [
    {namespace: '../x'},
    {namespace: 'UPPER'},
    {deployment: 'a/b'},
    {deployment: 'a?b'},
    {deployment: ''},
    {replicas: 0},
    {replicas: 1.5},
    {replicas: 11},
    {replicas: 3, maxReplicas: 2},
  ])
    expect(() => kubernetesProvider({namespace: 'n', deployment: 'd', access, ...options})).toThrow(
      expect.objectContaining({code: 'INVALID_CONFIG'}) as Error,
    );
});
