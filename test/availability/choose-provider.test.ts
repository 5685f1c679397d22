/** Who starts whom: `PATTERN=SPEC`. */
import {expect, test} from 'vitest';
import {choosingProvider, fits, parseProviderRule} from '../../src/availability/choose-provider.js';
import {ProviderRunner} from '../../src/availability/provider-runner.js';
import type {Provider} from '../../src/availability/provider.js';
import {decodeWakeupRequest} from '../../src/protocol/wakeup.js';

test.each([
  ['mock', '*', {kind: 'mock', mode: 'ready'}],
  ['mock:flaky:0.3', '*', {kind: 'mock', mode: 'flaky:0.3'}],
  ['ocr=mock:reject', 'ocr', {kind: 'mock', mode: 'reject'}],
  ['process:npm run worker', '*', {kind: 'process', command: 'npm run worker'}],
  ['ocr*=process:A=1 run --x=y', 'ocr*', {kind: 'process', command: 'A=1 run --x=y'}],
  ['http:https://w.example/a?b=c', '*', {kind: 'http', url: 'https://w.example/a?b=c'}],
  ['https://w.example/a?b=c', '*', {kind: 'http', url: 'https://w.example/a?b=c'}],
  ['http://127.0.0.1:1/', '*', {kind: 'http', url: 'http://127.0.0.1:1/'}],
  ['docker:ocr-1', '*', {kind: 'docker', container: 'ocr-1'}],
  [
    'docker:image=acme/ocr:3,name=x,network=n,env=A,env=B:C',
    '*',
    {kind: 'docker', image: 'acme/ocr:3', name: 'x', network: 'n', env: ['A', 'B:C']},
  ],
  ['a:b=docker:image=i@sha256:0', 'a:b', {kind: 'docker', image: 'i@sha256:0'}],
  ['kubernetes:agents/ocr', '*', {kind: 'kubernetes', namespace: 'agents', deployment: 'ocr'}],
  [
    'x=kubernetes:agents/ocr,replicas=2,max=5',
    'x',
    {kind: 'kubernetes', namespace: 'agents', deployment: 'ocr', replicas: 2, maxReplicas: 5},
  ],
  ['./provider.ts', '*', {kind: 'file', file: './provider.ts'}],
  ['./a=b/provider.ts', '*', {kind: 'file', file: './a=b/provider.ts'}],
  ['ocr=./provider.ts', 'ocr', {kind: 'file', file: './provider.ts'}],
])('%s', (text, pattern, spec) => {
  expect(parseProviderRule(text)).toEqual({pattern, spec});
});

test.each([
  ...[
    '',
    'ocr=',
    'process:',
    'process: ',
    'http:',
    'docker:',
    'docker:name=x',
    'docker:image=',
    'docker:image=x,port=1',
  ],
  ...[
    'docker:image=x,env=A-B',
    'kubernetes:x',
    'kubernetes:a/b/c',
    'kubernetes:a/b,replicas=-1',
    'kubernetes:a/b,x=1',
  ],
])('"%s" is refused, with the forms there are', text => {
  expect(() => parseProviderRule(text)).toThrow(
    expect.objectContaining({code: 'USAGE', hint: expect.stringContaining('Write ') as string}) as Error,
  );
});

test('a pattern fits whole agent types, and means its letters', () => {
  expect(['*', 'ocr', 'o*r', 'ocr*', '*c*', '**'].map(pattern => fits(pattern, 'ocr'))).toEqual(
    Array(6).fill(true),
  );
  expect(['oc', 'cr', 'o.r', 'ocr_*', ''].map(pattern => fits(pattern, 'ocr'))).toEqual(Array(5).fill(false));
  expect(fits('a.b', 'a.b')).toBe(true);
});

test('the first pattern that fits counts, each provider has a circuit of its own, and all are closed', async () => {
  const closed: string[] = [];
  const make = (name: string, status: 'READY' | 'FAILED'): Provider => ({
    name,
    wakeup: async () => ({status, reason: name}),
    close: async () => void closed.push(name),
  });
  const chosen = choosingProvider([
    {pattern: 'ocr', provider: make('first', 'FAILED')},
    {pattern: 'ocr*', provider: make('second', 'READY')},
  ]);
  expect(chosen.name).toBe('ocr=first, ocr*=second');
  const run = new ProviderRunner(chosen, {circuit: {failures: 1}});
  const ask = (type: string) =>
    run.wakeup(decodeWakeupRequest({execution_id: 'e', target_agent_type: type}), {
      signal: new AbortController().signal,
      isOnline: async () => false,
    });
  expect(await ask('ocr')).toMatchObject({reason: 'first'});
  expect(await ask('ocr')).toMatchObject({
    reason: expect.stringContaining('circuit of provider "first"') as string,
  });
  expect(await ask('ocr_fast')).toMatchObject({status: 'READY', reason: 'second'});
  expect(await ask('other')).toMatchObject({status: 'REJECTED'});
  await run.close();
  expect(closed).toEqual(['first', 'second']);
});
