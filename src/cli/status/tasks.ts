/** `tasks` and `pools` of `by status`: how many there are of each kind, and what keeps some from going. */
import {serverNowMs} from '../../store/store.js';
import {listPools} from '../../orchestration/profiles.js';
import {TASK_STATES} from '../../protocol/orchestration/states.js';
import {countFrom} from '../../store/orchestration-lists.js';
import {openWorkspace} from '../../store/orchestration.js';
import type {Store} from '../../store/store.js';
import {formatDuration} from '../duration.js';

const SHOWN = ['queued', 'running', 'waiting', 'idle'] as const;
const DAY_MS = 86_400_000;

export async function tasksSection(store: Store, name: string) {
  const workspace = openWorkspace(store, name);
  const nowMs = await serverNowMs(workspace.store);
  const index = (status: string) => workspace.keys.orchIndex(name, `tasks:s:${status}`);
  const counts = await Promise.all(
    TASK_STATES.map(async status => {
      const since = status === 'dropped' ? nowMs - DAY_MS : 0;
      return [status, await countFrom(workspace, index(status), since)] as const;
    }),
  );
  const count = Object.fromEntries(counts) as Readonly<Record<(typeof TASK_STATES)[number], number>>;
  const text = `${SHOWN.map(status => `${status} ${count[status]}`).join('  ')}          dropped 24h: ${count.dropped}`;
  return [{name: 'tasks', text, facts: {...count}}];
}

export async function poolsSection(store: Store, name: string) {
  const workspace = openWorkspace(store, name);
  const [pools, nowMs] = await Promise.all([listPools(workspace), serverNowMs(workspace.store)]);
  const isIll = (status: string) => status === 'degraded' || status === 'half_open';
  const ill = pools.filter(({status}) => isIll(status));
  const told = ill.map(({agentType, lane = 'default', failures, openUntilAt = 0}) => {
    const probe = openUntilAt > nowMs ? `probe in ${formatDuration(openUntilAt - nowMs)}` : 'probe due';
    return `${agentType}/${lane}: ${failures} failures, ${probe}`;
  });
  const text = [
    `${pools.length - ill.length} healthy`,
    ...(ill.length === 0 ? [] : [`${ill.length} degraded (${told.join('; ')})`]),
  ].join('  ');
  return [
    {name: 'pools', text, facts: {healthy: pools.length - ill.length, degraded: ill.map(({key}) => key)}},
  ];
}
