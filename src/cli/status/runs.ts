/** `tasks`, `pools` and `approvals` of `by status`: what waits, what runs, and what does not get on. */
import {AgentPool} from '../../protocol/orchestration/pool.js';
import {readRecord} from '../../protocol/orchestration/record.js';
import {pendingApprovals} from '../../store/approvals.js';
import {readDocs, setMembers, sizeOf} from '../../store/orchestration-lists.js';
import {openWorkspace, redisNowMs, type Workspace} from '../../store/orchestration.js';
import {formatDuration} from '../duration.js';
import type {StatusLine, StatusSection} from './section.js';

const OPEN = ['queued', 'running', 'waiting', 'idle'] as const;

export const runsSection: StatusSection = async (store, name) => {
  const workspace = openWorkspace(store, name);
  const nowMs = await redisNowMs(workspace);
  const lines = await Promise.all([tasks(workspace), pools(workspace, nowMs), approvals(workspace, nowMs)]);
  return lines.flat();
};

async function tasks(workspace: Workspace): Promise<StatusLine[]> {
  const {keys, name} = workspace;
  const lists = ['tasks', ...OPEN.map(status => `tasks:s:${status}`)];
  const [all = 0, ...counts] = await sizeOf(
    workspace,
    lists.map(list => keys.orchIndex(name, list)),
  );
  if (all === 0) return [];
  const facts = Object.fromEntries(OPEN.map((status, i) => [status, counts[i] ?? 0]));
  return [{name: 'tasks', text: OPEN.map(status => `${status} ${facts[status] ?? 0}`).join('  '), facts}];
}

async function pools(workspace: Workspace, nowMs: number): Promise<StatusLine[]> {
  const {keys, name} = workspace;
  const members = await setMembers(workspace, keys.orchPools(name));
  const docs = await readDocs(
    workspace,
    members.map(key => keys.orchPool(name, key)),
  );
  const known = docs.flatMap(doc => readRecord(AgentPool, doc) ?? []);
  if (known.length === 0) return [];
  const sick = known.filter(({status}) => status === 'degraded' || status === 'half_open');
  const told = sick.map(pool => {
    const wait =
      pool.openUntilAt === undefined ? '' : `, probe in ${formatDuration(pool.openUntilAt - nowMs)}`;
    return `${pool.agentType}/${pool.lane ?? 'default'}: ${pool.failures} failures${wait}`;
  });
  const count = `${known.length - sick.length} healthy`;
  return [
    {
      name: 'pools',
      text: sick.length === 0 ? count : `${count}  ${sick.length} degraded (${told.join('; ')})`,
      facts: {
        healthy: known.length - sick.length,
        degraded: sick.map(({key, agentType, failures}) => ({key, agent_type: agentType, failures})),
      },
    },
  ];
}

async function approvals(workspace: Workspace, nowMs: number): Promise<StatusLine[]> {
  const waiting = (await pendingApprovals(workspace)).filter(({expiresAt}) => expiresAt > nowMs);
  const [first] = waiting;
  if (first === undefined) return [];
  const oldest = Math.min(...waiting.map(({createdAt}) => createdAt));
  return [
    {
      name: 'approvals',
      text: `${waiting.length} pending (oldest ${formatDuration(nowMs - oldest)}, expires in ${formatDuration(first.expiresAt - nowMs)})`,
      facts: {pending: waiting.length, oldest_ms: nowMs - oldest},
    },
  ];
}
