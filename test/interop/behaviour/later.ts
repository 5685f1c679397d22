/** Rows that can not be run yet, by area: the issue that builds what they need, and what that is. */
import type {Area} from '../behavioural.js';

const CHECKPOINTS = 'issue 2: reading with checkpoints';
const FORCED_EVICTION = 'issue 3: an EVICT with force interrupts what runs';
const ADMIN = 'issue 3: the calls that suspend, resume, evict and clear a worker';
const DISCOVERY = 'issue 5: service discovery';
const SNAPSHOTS = 'issue 5: agent-config snapshots';
const RELOAD = 'issue 5: reloading plugins';
const STATISTICS = 'issue 6: worker statistics';

export const later: Readonly<Record<Area, Readonly<Record<string, string>>>> = {
  availability: {},
  registry: {
    'registry/v1.admin_suspend': ADMIN,
    'registry/v1.admin_resume': ADMIN,
    'registry/v1.admin_evict': ADMIN,
    'registry/v1.admin_clear': ADMIN,
    'discovery/v1.register': DISCOVERY,
    'discovery/v1.get_instances': DISCOVERY,
    'discovery/v1.unregister': DISCOVERY,
    'discovery/v2.register': DISCOVERY,
    'discovery/v2.get_instances': DISCOVERY,
    'discovery/v2.unregister': DISCOVERY,
  },
  executions: {
    'executions/exec.3_fields': SNAPSHOTS,
    'executions/exec.worker_summary': STATISTICS,
  },
  client: {
    'client/read.checkpoint': CHECKPOINTS,
    'client/read.consume_breaks_after_2nd': CHECKPOINTS,
    'control/reload.success': RELOAD,
    'control/reload.failure': RELOAD,
  },
  worker: {
    'hazards/evict_with_running_task.force': FORCED_EVICTION,
  },
  observe: {
    'metrics/snapshot': STATISTICS,
    'metrics/worker_snapshot': STATISTICS,
    'metrics/collector_keys': STATISTICS,
  },
};
