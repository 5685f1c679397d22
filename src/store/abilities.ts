/** What workers of ours say they can hold a run to. A worker that says nothing is one of another SDK, or an older one. */
import {WorkerAbilities} from '../protocol/orchestration/abilities.js';
import {createRunKeys} from '../protocol/orchestration/keys.js';
import {ABILITIES_TTL_S} from '../protocol/orchestration/retention.js';
import {readRecord, writeRecord} from '../protocol/orchestration/record.js';
import {getAll, type Store} from './store.js';

const RETRY = {retryForMs: 5000};

const keyOf = (store: Store, workerId: string) =>
  createRunKeys({prefix: store.keys.prefix}).orchAbilities(workerId);

/** Holds for two minutes: say it again before that. */
export async function sayAbilities(
  store: Store,
  workerId: string,
  abilities: WorkerAbilities,
): Promise<void> {
  const doc = writeRecord(WorkerAbilities, abilities);
  await store.commands.run(redis => redis.set(keyOf(store, workerId), doc, 'EX', ABILITIES_TTL_S), RETRY);
}

/** In the order of the ids; undefined for who has said nothing. */
export async function abilitiesOf(
  store: Store,
  workerIds: readonly string[],
): Promise<(WorkerAbilities | undefined)[]> {
  const docs = await getAll(
    store,
    workerIds.map(id => keyOf(store, id)),
  );
  return docs.map(doc => readRecord(WorkerAbilities, doc ?? undefined));
}
