/** What tests of the run layer share. */
import type {Store} from '../../src/store/store.js';
import {openWorkspace, type Workspace} from '../../src/store/orchestration.js';

export const workspaceOf = (store: Store, name = 'default'): Workspace => openWorkspace(store, name);

export const times = <T>(count: number, act: (index: number) => Promise<T>): Promise<T[]> =>
  Promise.all(Array.from({length: count}, (_, index) => act(index)));
