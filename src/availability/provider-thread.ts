/** A thread for a user's provider: what it does to its thread it does not do to the manager. */
import {parentPort, workerData} from 'node:worker_threads';
import {ByError, messageOf} from '../errors.js';
import type {WakeupRequest} from '../protocol/wakeup.js';
import {loadProvider} from './load-provider.js';
import type {Provider} from './provider.js';
import type {FromThread, ToThread} from './thread-messages.js';

const say = (message: FromThread) => parentPort?.postMessage(message);

const calls = new Map<number, AbortController>();
const questions = new Map<number, {resolve: (value: unknown) => void; reject: (error: Error) => void}>();
let asked = 0;

const loading = loadProvider((workerData as {file: string}).file);
loading.then(
  ({name}) => say({kind: 'loaded', name}),
  (error: unknown) =>
    say({kind: 'unusable', message: messageOf(error), hint: error instanceof ByError ? error.hint : ''}),
);

parentPort?.on('message', (message: ToThread) => {
  switch (message.kind) {
    case 'wakeup':
      void wakeup(message.call, message.request);
      break;
    case 'abort':
      calls.get(message.call)?.abort();
      break;
    case 'told': {
      const question = questions.get(message.question);
      questions.delete(message.question);
      if (message.error === '') question?.resolve(message.value);
      else question?.reject(new Error(message.error));
      break;
    }
    case 'ping':
      say({kind: 'pong'});
      break;
    case 'close':
      void close();
      break;
  }
});

async function wakeup(call: number, request: WakeupRequest): Promise<void> {
  const end = new AbortController();
  calls.set(call, end);
  try {
    const provider = await loading;
    const chosen: Provider = provider.choose?.(request) ?? provider;
    const answer = await chosen.wakeup(request, {
      signal: end.signal,
      isOnline: () => ask(call, 'isOnline') as Promise<boolean>,
      onlineWorkers: () => ask(call, 'onlineWorkers') as Promise<readonly string[]>,
    });
    // What can not be copied to the manager is thrown here.
    say({kind: 'answered', call, answer});
  } catch (error) {
    say({kind: 'threw', call, message: messageOf(error)});
  } finally {
    calls.delete(call);
  }
}

function ask(call: number, what: 'isOnline' | 'onlineWorkers'): Promise<unknown> {
  const question = ++asked;
  return new Promise((resolve, reject) => {
    questions.set(question, {resolve, reject});
    say({kind: 'asks', call, question, what});
  });
}

async function close(): Promise<void> {
  let message = '';
  try {
    await (await loading).close?.();
  } catch (error) {
    message = messageOf(error);
  }
  say({kind: 'closed', message});
}
