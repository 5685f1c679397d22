/** Rows that can not be run yet, by area: the issue that builds what they need, and what that is. */
import type {Area} from '../behavioural.js';

const CHECKPOINTS = 'issue 2: reading with checkpoints';
const STATISTICS = 'issue 6: worker statistics';

export const later: Readonly<Record<Area, Readonly<Record<string, string>>>> = {
  availability: {},
  registry: {},
  executions: {
    'executions/exec.worker_summary': STATISTICS,
  },
  client: {
    'client/read.checkpoint': CHECKPOINTS,
    'client/read.consume_breaks_after_2nd': CHECKPOINTS,
  },
  worker: {},
  observe: {},
};
