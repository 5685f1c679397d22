/** `redis` of `by status`: what the server is, how far away, and whether it keeps what it is given. */
import {durabilityOf} from '../../store/durability.js';
import {checkServer, serverTimeMs} from '../../store/store.js';
import {paint} from '../text.js';
import type {StatusSection} from './section.js';

export const redisSection: StatusSection = async store => {
  const server = await checkServer(store);
  const startedAt = performance.now();
  await serverTimeMs(store);
  const rttMs = Math.round((performance.now() - startedAt) * 10) / 10;
  const aof = server.aofEnabled ? server.appendFsync || 'on' : 'off';
  const policy = server.maxmemoryPolicy || 'unknown';
  const durability = durabilityOf(server);
  const mayEvict = policy !== 'noeviction' && policy !== 'unknown';
  const kind = server.embedded
    ? ' (embedded)'
    : server.clusterNodes > 0
      ? ` (Cluster of ${server.clusterNodes})`
      : '';
  return [
    {
      name: 'redis',
      text: [paint.green('ok'), ` ${server.version}${kind}  rtt ${rttMs}ms  aof ${aof}  policy ${policy}`],
      facts: {...server, rttMs, durability: durability.level},
      warnings: [
        ...(durability.level === 'none' ? [`redis: ${durability.because}`] : []),
        ...(mayEvict ? [`redis: maxmemory-policy is ${policy}, and may delete accepted work`] : []),
      ],
    },
  ];
};
