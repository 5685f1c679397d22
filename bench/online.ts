/** Workers that are online for the server and exist nowhere else: leases and memberships, as the registry writes them. */
import {Redis} from 'ioredis';
import {encodePresence} from '../src/protocol/presence.js';
import {createKeys} from '../src/protocol/keys.js';

export async function putOnline(url: string, agentType: string, workers: number): Promise<void> {
  const redis = new Redis(url);
  const keys = createKeys();
  const lease = encodePresence({token: 'bench', lastSeen: Date.now(), ipAddress: '127.0.0.1'});
  const ids = Array.from({length: workers}, (_, i) => `bench-${i}`);
  for (let from = 0; from < workers; from += 1000) {
    const some = ids.slice(from, from + 1000);
    const pipeline = redis
      .pipeline()
      .sadd(keys.members(agentType), ...some)
      .sadd(keys.knownWorkers(), ...some);
    for (const id of some) pipeline.set(keys.workerLease(id), lease, 'EX', 600);
    await pipeline.exec();
  }
  redis.disconnect();
}
