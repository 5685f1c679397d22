/** The provider that starts containers, against an Engine API played on a Unix socket. */
import {afterEach, beforeEach, expect, test} from 'vitest';
import {dockerProvider, type DockerProviderOptions} from '../../src/availability/docker-provider.js';
import {decodeWakeupRequest} from '../../src/protocol/wakeup.js';
import {startFakeDocker, type FakeDocker} from '../support/docker-engine.js';

let docker: FakeDocker;
beforeEach(async () => {
  docker = await startFakeDocker();
});
afterEach(() => docker.stop());

const image = {image: 'acme/ocr:3', env: {BY_REDIS_URL: 'redis://:pa55word@redis:6379'}};

/** Ask for a type whose worker is online as soon as its container runs, unless `online` says otherwise. */
async function wake(
  options: DockerProviderOptions,
  {
    agentType = 'ocr',
    timeoutMs = 30_000,
    online,
  }: {agentType?: string; timeoutMs?: number; online?: boolean} = {},
) {
  const runs = () => [...docker.containers.values()].some(({status}) => status === 'running');
  return dockerProvider({socketPath: docker.socketPath, ...options}).wakeup(
    decodeWakeupRequest({execution_id: 'exec-1', target_agent_type: agentType, timeout_ms: timeoutMs}),
    {
      signal: new AbortController().signal,
      isOnline: async () => online ?? runs(),
      onlineWorkers: async () => ['worker-1'],
    },
  );
}

const container = (status: 'created' | 'running' | 'exited', labels = {}, exitCode = 0) => ({
  ...{status, exitCode, image: 'acme/ocr:2', env: [], labels, network: 'default'},
});

test('starts a container that exists, and finds one that runs already', async () => {
  docker.containers.set('ocr-1', container('exited'));
  expect(await wake({container: 'ocr-1'})).toEqual({status: 'READY', workerIds: ['worker-1']});
  expect(await wake({container: 'ocr-1'})).toMatchObject({status: 'READY'});
  expect(docker.asked).toEqual(Array(2).fill('POST /containers/ocr-1/start'));
});

test('makes one container of an image, with what it may know, however many ask', async () => {
  docker.images.add('acme/ocr:3');
  const all = await Promise.all(Array.from({length: 10}, () => wake({...image, network: 'agents'})));
  expect(new Set(all.map(({status}) => status))).toEqual(new Set(['READY']));
  expect([...docker.containers]).toEqual([
    [
      'by-ocr',
      {
        ...{status: 'running', exitCode: 0, image: 'acme/ocr:3', network: 'agents'},
        env: ['BY_REDIS_URL=redis://:pa55word@redis:6379', 'BY_AGENT_TYPE=ocr'],
        labels: {'by.agent_type': 'ocr'},
      },
    ],
  ]);
});

test('agent types that look alike get containers of their own', async () => {
  docker.images.add('acme/ocr:3');
  for (const agentType of ['a:b', 'a@b', 'a-b']) await wake(image, {agentType});
  expect(docker.containers.size).toBe(3);
  for (const name of docker.containers.keys()) expect(name).toMatch(/^[A-Za-z0-9][A-Za-z0-9_.-]+$/);
});

test('one that ended is made anew, of the image and the address of now; one that was just made is not', async () => {
  docker.images.add('acme/ocr:3');
  docker.containers.set('by-ocr', container('exited', {'by.agent_type': 'ocr'}));
  expect(await wake(image)).toMatchObject({status: 'READY'});
  expect(docker.containers.get('by-ocr')?.image).toBe('acme/ocr:3');
  docker.containers.set('by-ocr', container('created', {'by.agent_type': 'ocr'}));
  expect(await wake(image)).toMatchObject({status: 'READY'});
  expect(docker.containers.get('by-ocr')?.image).toBe('acme/ocr:2');
});

test('what somebody else made is neither removed nor started', async () => {
  docker.images.add('acme/ocr:3');
  docker.containers.set('by-ocr', container('exited'));
  expect(await wake(image)).toMatchObject({
    status: 'FAILED',
    reason: expect.stringContaining('was not made for "ocr"') as string,
  });
  expect(docker.containers.get('by-ocr')?.status).toBe('exited');
});

test('STARTING, when the caller has not the time to see the worker come', async () => {
  docker.containers.set('ocr-1', container('exited'));
  expect(await wake({container: 'ocr-1'}, {online: false, timeoutMs: 100})).toMatchObject({
    status: 'STARTING',
  });
  expect(docker.containers.get('ocr-1')?.status).toBe('running');
});

test('a container that ends before its worker is online has failed, with its code', async () => {
  docker.containers.set('ocr-1', container('exited'));
  docker.onStart = name => {
    Object.assign(docker.containers.get(name)!, {status: 'exited', exitCode: 137});
  };
  expect(await wake({container: 'ocr-1'}, {online: false})).toMatchObject({
    status: 'FAILED',
    reason: expect.stringMatching(/ended with code 137/) as string,
  });
});

test.each([
  ['no such container', {container: 'gone'}, /there is no container gone/],
  ['no such image', {image: 'acme/none'}, /no image acme\/none on this machine/],
  ['no Docker', {container: 'x', socketPath: '/nowhere/docker.sock'}, /Docker does not run at \/nowhere/],
])('is FAILED with %s', async (_what, options, reason) => {
  expect(await wake(options)).toMatchObject({
    status: 'FAILED',
    reason: expect.stringMatching(reason) as string,
  });
});

test('what Docker says is passed on, but nothing of the environment', async () => {
  docker.images.add('acme/ocr:3');
  docker.fault = () => ({
    status: 500,
    body: JSON.stringify({message: `bad env BY_REDIS_URL=${image.env.BY_REDIS_URL}`}),
  });
  const answer = await wake(image);
  expect(answer).toMatchObject({
    status: 'FAILED',
    reason: expect.stringContaining('(500): bad env') as string,
  });
  expect(JSON.stringify(answer)).not.toContain('pa55word');
  docker.fault = () => ({status: 200, body: '<html>'});
  expect(await wake(image)).toMatchObject({status: 'FAILED'});
});

test('a name that leads elsewhere is refused', () => {
  for (const name of ['../../images/x', 'a/b', '', 'a?b', '-x'])
    expect(() => dockerProvider({container: name})).toThrow(
      expect.objectContaining({code: 'INVALID_CONFIG'}) as Error,
    );
});
