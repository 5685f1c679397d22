/** What `by doctor` looks at, each as a finding or a pass. Reads only. */
import {CONSUMER_GROUP} from '../protocol/keys.js';
import {listAgentTypes, listWorkers} from '../registry/listing.js';
import {groupsOf} from '../store/control-streams.js';
import {countDeadLetters, listDeadLetters} from '../store/dead-letters.js';
import {durabilityOf} from '../store/durability.js';
import {checkServer, keysOfBothSchemas, serverTimeMs, type ServerFacts, type Store} from '../store/store.js';

export interface Check {
  readonly name: string;
  readonly level: 'ok' | 'warning' | 'problem';
  readonly text: string;
  /** What to do, when it is no pass. */
  readonly fix?: string;
}

/** Clocks further apart than this make times in lists and records misleading. */
const MAX_SKEW_MS = 2000;

/** Ask the server everything; what can not be asked surfaces as the error it is. */
export async function examine(store: Store): Promise<Check[]> {
  const checks: Check[] = [];
  const add = (name: string, level: Check['level'], text: string, fix?: string) =>
    checks.push({name, level, text, ...(fix === undefined ? {} : {fix})});

  const server = await checkServer(store);
  add('server', 'ok', `${store.address}  ${describeServer(server)}`);
  const durability = durabilityOf(server);
  add(
    'durability',
    durability.level === 'none' ? 'warning' : 'ok',
    durability.level === 'none' ? durability.because : `${durability.level}: ${durability.because}`,
    durability.fix,
  );
  if (server.maxmemoryPolicy !== '' && server.maxmemoryPolicy !== 'noeviction') {
    add(
      'eviction',
      'problem',
      `maxmemory-policy is ${server.maxmemoryPolicy}: Redis may delete work`,
      'redis-cli CONFIG SET maxmemory-policy noeviction',
    );
  } else add('eviction', 'ok', 'noeviction');

  const before = Date.now();
  const skew = Math.abs((await serverTimeMs(store)) - (before + Date.now()) / 2);
  if (skew > MAX_SKEW_MS)
    add(
      'clock',
      'warning',
      `this machine and the server are ${Math.round(skew / 1000)} s apart`,
      'Synchronise the clocks (NTP).',
    );
  else add('clock', 'ok', `within ${Math.round(skew)} ms of the server`);

  const both = await keysOfBothSchemas(store);
  if (both.v1 && both.v2)
    add(
      'key schema',
      'warning',
      'keys of schema v1 and v2 are both here: the two do not see each other',
      'Set REDIS_KEY_SCHEMA_VERSION to the same value everywhere.',
    );
  else add('key schema', 'ok', store.keys.schema);

  const workers = await listWorkers(store);
  const stale = workers.filter(worker => worker.state === 'stale');
  const online = workers.filter(worker => worker.state === 'online').length;
  add('workers', 'ok', `${online} online, ${workers.length} known`);
  if (stale.length > 0)
    add(
      'stale workers',
      'warning',
      `${stale.length} without a lease: ${stale
        .slice(0, 5)
        .map(worker => worker.workerId)
        .join(', ')}`,
      'They crashed or were cut off. Start them again, or ignore them: nothing is sent to them.',
    );

  for (const {agentType} of await listAgentTypes(store)) {
    const groups = await groupsOf(store, store.keys.ctrlStream(agentType));
    const others = groups.filter(group => group.name !== CONSUMER_GROUP && group.consumers > 0);
    if (groups.length > 1 && others.length > 0) {
      add(
        `groups of ${agentType}`,
        'problem',
        `${groups.length} consumer groups: every message runs once in each (${groups.map(group => group.name).join(', ')})`,
        'Give all workers of an agent type the same --group.',
      );
    }
  }

  checks.push(await examineDeadLetters(store));
  return checks;
}

async function examineDeadLetters(store: Store): Promise<Check> {
  const name = 'dead letters';
  const count = await countDeadLetters(store);
  const limit = store.limits.deadLetters;
  if (count === 0) return {name, level: 'ok', text: 'none'};
  if (limit > 0 && count >= limit) {
    return {
      name,
      level: 'problem',
      text: `${count}, and ${limit} are the most: what fails now stays pending`,
      fix: 'by deadletter replay --all --dry-run',
    };
  }
  const newest = await listDeadLetters(store, 1000);
  const unreadable = newest.filter(({letter}) => letter === undefined).length;
  const ofLimit = limit > 0 ? ` of at most ${limit}` : '';
  return {
    name,
    level: 'warning',
    text: `${count}${ofLimit}${unreadable > 0 ? `, ${unreadable} unreadable` : ''}`,
    fix: 'by deadletter list',
  };
}

function describeServer({embedded, version, clusterNodes}: ServerFacts): string {
  if (embedded) return 'embedded store (Redis protocol 7.0)';
  return clusterNodes === 0 ? `version ${version}` : `version ${version}, a Cluster of ${clusterNodes} nodes`;
}
