/**
 * On-call work: what can not wait is put on a stream of its own, where a worker that keeps itself free for it reads it
 * before anything else. Where no such worker is, it goes where all work goes.
 */
import {defineScript, flag} from './script.js';
import {streamLength} from './queues.js';
import type {Store} from './store.js';

const noteScript = defineScript({
  file: 'note-on-call.lua',
  keys: ['readers'],
  args: ['workerId', 'ttlMs'],
  reply: flag,
});

/**
 * Say that a worker reads the on-call work of an agent type.
 * @param ttlMs milliseconds it counts as one without being said again; 0: it is none any more.
 */
export async function noteOnCallReader(
  store: Store,
  agentType: string,
  workerId: string,
  ttlMs: number,
): Promise<void> {
  const readers = store.keys.onCallReaders(agentType);
  await noteScript(store.commands, {keys: {readers}, args: {workerId, ttlMs}}, {retryForMs: 1000});
}

/** Whether a worker reads the on-call work of an agent type before anything else. */
export async function hasOnCallReader(store: Store, agentType: string): Promise<boolean> {
  const readers = store.keys.onCallReaders(agentType);
  return (await store.commands.run(redis => redis.exists(readers), {retryForMs: 5000})) === 1;
}

/** Those of the agent types whose on-call work nobody reads though there is some: its last reader left, or died. */
export async function unreadOnCall(store: Store, agentTypes: readonly string[]): Promise<string[]> {
  const unread = await Promise.all(
    agentTypes.map(async type => {
      const length = await streamLength(store, store.keys.onCallStream(type));
      return length > 0 && !(await hasOnCallReader(store, type));
    }),
  );
  return agentTypes.filter((_, i) => unread[i]);
}
