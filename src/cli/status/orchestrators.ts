/** `orchestrator` of `by status`: how many replicas of `by serve` there are, and what they do. */
import {liveOrchestrators} from '../../store/orchestrators.js';
import {formatDuration} from '../duration.js';
import type {StatusSection} from './section.js';

export const orchestratorSection: StatusSection = async store => {
  const nodes = await liveOrchestrators(store);
  const roles = new Map<string, number>();
  for (const role of nodes.flatMap(node => node.roles)) roles.set(role, (roles.get(role) ?? 0) + 1);
  const counts = [...roles].sort(([a], [b]) => (a < b ? -1 : 1)).map(([role, count]) => `${role} ${count}`);
  const seenMs = Math.min(...nodes.map(node => node.seenMs));
  const replicas = `${nodes.length} ${nodes.length === 1 ? 'replica' : 'replicas'}`;
  const seen = formatDuration(Math.floor(seenMs / 1000) * 1000).replace(/^0ms$/, '0s');
  return [
    {
      name: 'orchestrator',
      text: nodes.length === 0 ? 'none seen' : `${replicas} (${counts.join(', ')})  last seen ${seen}`,
      facts: {replicas: nodes},
    },
  ];
};
