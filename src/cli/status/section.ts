/** A part of `by status`: asks the store, and says in a line what there is. */
import type {Store} from '../../store/store.js';
import type {Text} from '../text.js';

export interface StatusLine {
  /** What the line begins with; in JSON the name of its facts. */
  readonly name: string;
  readonly text: Text;
  /** For programs. */
  readonly facts: object;
  /** What an operator should look at, each in a line of its own at the end. */
  readonly warnings?: readonly string[];
  /** Agent types that have work, and nobody who takes it: `--exit-code` looks at them. */
  readonly stuck?: readonly StuckType[];
}

export interface StuckType {
  readonly agentType: string;
  /** Somebody is online, and has used up a quota; milliseconds until the first recovers. Null: nobody is online. */
  readonly recoverMs: number | null;
}

export type StatusSection = (store: Store, workspace: string) => Promise<StatusLine[]>;
