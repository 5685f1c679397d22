/** A process that dies between two of its own Redis commands, without taking the test with it. */
import type {Store} from '../../src/store/store.js';

export class Crash extends Error {
  override readonly name = 'Crash';
}

/** The same store, through which only the first `commands` runs go; after those the process is dead. */
function dyingAfter(store: Store, commands: number): {store: Store; died: () => boolean} {
  let runs = 0;
  const connection = Object.create(store.commands) as Store['commands'];
  connection.run = async (issue, options) => {
    if (runs >= commands) throw new Crash();
    runs++;
    return store.commands.run(issue, options);
  };
  return {store: {...store, commands: connection}, died: () => runs >= commands};
}

/**
 * Let `act` die after each number of its commands, from none to all but the last, and look at what is left each time.
 * The points are counted while it runs, so a new command is covered by itself.
 * @param open a fresh store for every try.
 * @returns how many points there were.
 */
export async function atEveryCrash<T>(
  open: () => Store,
  prepare: (store: Store) => Promise<T>,
  act: (store: Store, prepared: T) => Promise<unknown>,
  check: (store: Store, prepared: T, point: number) => Promise<void>,
): Promise<number> {
  for (let point = 0; ; point++) {
    const store = open();
    await store.commands.isCluster();
    const prepared = await prepare(store);
    const dying = dyingAfter(store, point);
    let crashed = false;
    try {
      await act(dying.store, prepared);
    } catch (error) {
      if (!(error instanceof Crash)) throw error;
      crashed = true;
    }
    await check(store, prepared, point);
    if (!crashed) return point;
  }
}
