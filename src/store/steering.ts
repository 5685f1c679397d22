/** What is said to an attempt while it works: put there by whoever speaks, taken by the agent at a point of its own. */
import {PendingInput} from '../protocol/orchestration/input.js';
import {readRecord, writeRecord} from '../protocol/orchestration/record.js';
import {STEERING_TTL_S} from '../protocol/orchestration/retention.js';
import {defineScript, texts} from './script.js';
import type {Change, Workspace} from './orchestration.js';

const RETRY = {retryForMs: 5000};
const LISTENS = '';

const takeScript = defineScript({
  file: 'orch-take-steered.lua',
  keys: ['inbox'],
  args: ['by', 'ttl'],
  reply: texts,
});

/**
 * Take what is there, and say that more may come.
 * @param by the same again gets the same again.
 */
export async function takeSteered(
  {store, keys, name}: Workspace,
  attemptId: string,
  by: string,
): Promise<PendingInput[]> {
  const docs = await takeScript(
    store.commands,
    {keys: {inbox: keys.orchSteering(name, attemptId)}, args: {by, ttl: STEERING_TTL_S}},
    RETRY,
  );
  return docs
    .flatMap(doc => readRecord(PendingInput, doc) ?? [])
    .sort((a, b) => (a.inputId < b.inputId ? -1 : 1));
}

/** Whether the agent of an attempt has taken such messages, and will look again. */
export const isListening = ({store, keys, name}: Workspace, attemptId: string): Promise<boolean> =>
  store.commands.run(
    async redis => (await redis.hexists(keys.orchSteering(name, attemptId), LISTENS)) === 1,
    RETRY,
  );

/** Put a message there, with everything else the change writes. */
export function steer(change: Change, {keys, name}: Workspace, attemptId: string, input: PendingInput): void {
  const inbox = keys.orchSteering(name, attemptId);
  change
    .unlessChanged(inbox, LISTENS, '1')
    .write('HSET', inbox, input.inputId, writeRecord(PendingInput, input));
}

/** Which of these messages the agent has taken. */
export async function takenOf(
  {store, keys, name}: Workspace,
  attemptId: string,
  inputIds: readonly string[],
): Promise<string[]> {
  if (inputIds.length === 0) return [];
  const values = await store.commands.run(
    redis => redis.hmget(keys.orchSteering(name, attemptId), ...inputIds),
    RETRY,
  );
  return inputIds.filter((_, i) => values[i]?.startsWith('taken ') === true);
}
