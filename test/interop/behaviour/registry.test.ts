/** Leases, membership and admin state, step by step, against the rows of registry.json and control.json. */
import {expect} from 'vitest';
import {GatewayClient} from '../../../src/client/client.js';
import {silentLogger} from '../../../src/log.js';
import {
  claimLease,
  dropStaleTypes,
  heartbeat,
  knownWorkers,
  leave,
  onlineMembers,
  workerFacts,
  type Lease,
} from '../../../src/store/presence.js';
import {encodeServiceInstance} from '../../../src/protocol/discovery.js';
import {DiscoveryClient} from '../../../src/registry/discovery-client.js';
import {ServiceRegistry, type ServiceRegistration} from '../../../src/registry/service-registry.js';
import type {Store} from '../../../src/store/store.js';
import {
  evictWorker,
  rejoinWorker,
  resumeWorker,
  suspendWorker,
  type AdminOutcome,
} from '../../../src/store/worker-admin.js';
import {contentText, defineAgent} from '../../../src/worker/agent.js';
import {startWorker} from '../../../src/worker/runner.js';
import {until, type TestStore} from '../../support/stores.js';
import {behaviouralRows} from '../behavioural.js';
import {asDoc, at as field, type Doc, type Row} from '../vectors.js';
import {
  contents,
  drained,
  NOON,
  open,
  runRows,
  setLifecycle,
  work,
  type RowTest,
  type Stored,
} from './support.js';

const lease: Lease = {
  workerId: 'worker-01',
  token: '3d5e736b134447e0ae36119fd9af192b',
  ipAddress: '10.1.2.3',
};
const stranger: Lease = {...lease, token: 'another'};
const TYPES = ['writer', 'planner'];

const beat = (store: Store, agentTypes = TYPES, by = lease) =>
  heartbeat(store, by, {agentTypes, join: true, nowMs: NOON});

const storeFor = (at: TestStore, row: Row): Store =>
  open(at, {keySchema: row.name.startsWith('v2.') ? 'v2' : 'v1'});

async function compareKeys(at: TestStore, store: Store, row: Row): Promise<void> {
  const found = await contents(at.redis(), store);
  const wanted = asDoc(field(row.expected, 'redis')) as Readonly<Record<string, Doc>>;
  expect(Object.keys(found)).toEqual(Object.keys(wanted).sort());
  for (const [name, {type, value, ttl_seconds: ttl}] of Object.entries(wanted)) {
    const {type: ours, value: held, ttl: left} = found[name] as Stored;
    expect([ours, held], name).toEqual([
      type,
      typeof value === 'string' ? (JSON.parse(value) as unknown) : value,
    ]);
    expect(left, name).toBeLessThanOrEqual(ttl as number);
    expect(left, name).toBeGreaterThanOrEqual(Math.min(ttl as number, 1));
  }
}

const claimed: RowTest = {
  async run(at, row) {
    const store = storeFor(at, row);
    expect(await claimLease(store, lease)).toBe(true);
    await compareKeys(at, store, row);
    const [facts] = await workerFacts(store, ['worker-01']);
    expect(facts?.online).toBe(field(row.expected, 'is_worker_online'));
  },
};

const joined: RowTest = {
  async run(at, row) {
    const store = storeFor(at, row);
    await claimLease(store, lease);
    expect((await beat(store)).kind === 'kept').toBe(field(row.expected, 'heartbeat'));
    await compareKeys(at, store, row);
    const {online, workerIds} = await onlineMembers(store, 'writer');
    expect([online, workerIds]).toEqual(field(row.expected, 'has_online_agent_type'));
    const workers = await workerFacts(store, await knownWorkers(store));
    const wire = workers.map(({workerId, agentTypes, lastSeen, ipAddress, lifecycle, reason}) => [
      workerId,
      {
        agent_types: agentTypes,
        last_seen: lastSeen,
        ip_address: ipAddress,
        lifecycle,
        lifecycle_reason: reason,
      },
    ]);
    expect(Object.fromEntries(wire)).toEqual(field(row.expected, 'get_all_workers'));
  },
};

const left: RowTest = {
  async run(at, row) {
    const store = storeFor(at, row);
    await claimLease(store, lease);
    await beat(store);
    await leave(store, lease, TYPES);
    await compareKeys(at, store, row);
  },
};

const refusedBeat = (by: Lease): RowTest => ({
  async run(at, row) {
    const store = storeFor(at, row);
    await claimLease(store, lease);
    const before = await at.redis().get(store.keys.workerLease('worker-01'));
    expect((await beat(store, TYPES, by)).kind === 'kept').toBe(field(row.expected, 'result'));
    expect(await at.redis().get(store.keys.workerLease('worker-01'))).toBe(before);
  },
});

const steps: Record<string, RowTest> = {
  'registry/v1.after_claim_worker_id': claimed,
  'registry/v2.after_claim_worker_id': claimed,
  'registry/v1.after_membership_and_heartbeat': joined,
  'registry/v2.after_membership_and_heartbeat': joined,
  'registry/v1.after_release_and_unregister': left,
  'registry/v2.after_release_and_unregister': left,
  'registry/v1.claim_twice': {
    async run(at, row) {
      expect(field(row.expected, 'error')).toContain('already in use');
      const store = at.open();
      await claimLease(store, lease);
      expect(await claimLease(store, stranger)).toBe(false);
      const second = startWorker(store, {
        agents: [defineAgent({type: 'writer', run: () => ''})],
        workerId: 'worker-01',
        log: silentLogger,
      });
      await expect(second).rejects.toMatchObject({code: 'WORKER_ID_TAKEN'});
    },
  },
  'registry/v1.heartbeat_by_instance_without_token_on_owned_lease': refusedBeat({...lease, token: ''}),
  'registry/v1.heartbeat_by_instance_with_other_token': refusedBeat(stranger),
  'registry/v1.release_with_other_token': {
    async run(at, row) {
      const store = at.open();
      await claimLease(store, lease);
      await leave(store, stranger, []);
      const gone = (await at.redis().exists(store.keys.workerLease('worker-01'))) === 0;
      expect(gone).toBe(field(row.expected, 'result'));
    },
  },
  'registry/v1.heartbeat_with_token_when_lease_expired': {
    async run(at, row) {
      const store = at.open();
      await claimLease(store, lease);
      await at.redis().del(store.keys.workerLease('worker-01'));
      expect((await beat(store)).kind === 'kept').toBe(field(row.expected, 'result'));
      expect(await at.redis().get(store.keys.workerLease('worker-01'))).toBe(field(row.expected, 'lease'));
    },
  },
  'registry/v1.membership_change_drops_stale_type': {
    async run(at, row) {
      const store = at.open();
      await claimLease(store, lease);
      await beat(store);
      const agentTypes = field(row.input, 'agent_types') as string[];
      await dropStaleTypes(store, 'worker-01', agentTypes);
      await beat(store, agentTypes);
      await compareKeys(at, store, row);
    },
  },
  'registry/v1.denied_type_not_joined': {
    async run(at, row) {
      const store = at.open();
      await claimLease(store, lease);
      await at.redis().sadd(store.keys.denied('writer'), 'worker-01');
      expect(await beat(store)).toMatchObject({kind: 'kept', deniedTypes: ['writer']});
      await compareKeys(at, store, row);
      const {online, workerIds} = await onlineMembers(store, 'writer');
      expect([online, workerIds]).toEqual(field(row.expected, 'has_online_writer'));
    },
  },
};

// What operators decide. The calls of these rows come one after the other, on a worker that is only there.

const calls: readonly (readonly [string, (store: Store, reason: string) => Promise<AdminOutcome>])[] = [
  ['admin_suspend', (store, reason) => suspendWorker(store, 'worker-01', {reason, now: () => NOON})],
  ['admin_resume', store => resumeWorker(store, 'worker-01', {now: () => NOON})],
  ['admin_evict', (store, reason) => evictWorker(store, 'worker-01', {reason, force: true, now: () => NOON})],
  ['admin_clear', store => rejoinWorker(store, 'worker-01')],
];

/** Ids of commands are drawn: as whether they have the form of the row's. */
const drawnIds = (value: unknown): unknown =>
  JSON.parse(JSON.stringify(value).replaceAll(/"(message|trace)_id":"[0-9a-f]{32}"/g, '"$1_id":"<32 hex>"'));

const decided = (name: string): RowTest => ({
  run: async (at, row) => {
    const store = storeFor(at, row);
    await claimLease(store, lease);
    await beat(store);
    const last = calls.findIndex(([call]) => call === name);
    for (const [call, act] of calls.slice(0, last + 1)) {
      const reason = behaviouralRows('registry').find(({id}) => id === `registry/v1.${call}`);
      await act(store, (reason && (asDoc(reason.input)['reason'] as string | undefined)) ?? '');
    }
    const {['byai_gateway:ctrl:worker:worker-01']: stream, ...found} = await contents(at.redis(), store);
    const {['byai_gateway:ctrl:worker:worker-01']: wantedStream, ...wanted} = asDoc(
      field(row.expected, 'redis'),
    );
    const valuesOf = (stored: Readonly<Record<string, unknown>>) =>
      Object.entries(stored).map(([key, doc]) => [key, asDoc(doc)['type'], valueIn(asDoc(doc))]);
    expect(valuesOf(withoutForce(found))).toEqual(valuesOf(wanted).sort());
    // Once the worker is let in again nobody reads what it was told; the row leaves that out.
    if (wantedStream === undefined) return;
    const documents = (asDoc(wantedStream)['value'] as Doc[]).map(
      entry => JSON.parse(field(entry, 'fields', 'data') as string) as unknown,
    );
    expect(drawnIds(stream?.value)).toEqual(drawnIds(documents));
  },
});

const valueIn = ({value}: Doc): unknown =>
  typeof value === 'string' ? (JSON.parse(value) as unknown) : value;

/** The field of ours beside the three. */
const withoutForce = (found: Record<string, Stored>): Record<string, unknown> =>
  Object.fromEntries(
    Object.entries(found).map(([key, stored]) => {
      if (!key.includes(':admin:')) return [key, stored];
      const {x_force: _force, ...value} = asDoc(stored.value);
      return [key, {...stored, value}];
    }),
  );

const decisions: Record<string, RowTest> = {
  'registry/v1.admin_suspend': decided('admin_suspend'),
  'registry/v1.admin_resume': decided('admin_resume'),
  'registry/v1.admin_evict': {
    differs: 'a field of ours says also that it was by force, for a worker that ends already',
    ...decided('admin_evict'),
  },
  'registry/v1.admin_clear': decided('admin_clear'),
};

// Admin state, as a worker obeys it, whoever writes it.

const WORKER = {workerId: 'worker-w', agentType: 'writer'};
const STATISTICS = /:registry:worker:(executions|history_snapshots|status):/;

async function compareLeftKeys(at: TestStore, store: Store, row: Row): Promise<void> {
  const wanted = (field(row.expected, 'registry_keys') as string[]).filter(name => !STATISTICS.test(name));
  const found = Object.keys(await contents(at.redis(), store));
  expect(found.filter(name => name.includes(':registry:worker'))).toEqual(wanted);
}

const admin: Record<string, RowTest> = {
  'control/admin.suspend_then_resume': {
    async run(at, row) {
      const name = `suspended-${process.pid}`;
      const store = open(at, {name});
      const redis = at.redis();
      const processed: string[] = [];
      await work(at, store, command => void processed.push(contentText(command.content)), {
        workerId: 'worker-w',
      });
      await setLifecycle(redis, store, WORKER, 'suspended');
      await drained(redis, store.keys.workerCtrlStream('worker-w'));
      // A read that waited already may still bring something: it must have come back empty.
      const isBlocked = (client: string) =>
        client.includes(`name=${name}:work `) && / flags=\S*b/.test(client);
      await until(
        async () =>
          !String(await redis.client('LIST'))
            .split('\n')
            .some(isBlocked),
      );

      const client = new GatewayClient(store);
      const request = {agentType: 'writer', sessionId: 'sess-1'};
      const wanted = asDoc(field(row.expected, 'send_FAIL_FAST_while_suspended'));
      await expect(client.send({...request, content: 'fail fast'})).rejects.toMatchObject({
        code: wanted['error_code'],
      });
      await client.send({...request, content: 'anyway', policy: 'SEND_ANYWAY'});
      const [facts] = await workerFacts(store, ['worker-w']);
      expect(facts?.online).toBe(field(row.expected, 'lease_still_online'));
      expect(await redis.xpending(store.keys.ctrlStream('writer'), 'agent_engines')).toEqual([
        0,
        null,
        null,
        null,
      ]);
      expect(processed).toEqual(field(row.expected, 'processed_while_suspended'));

      await setLifecycle(redis, store, WORKER, 'active');
      await drained(redis, store.keys.ctrlStream('writer'));
      expect(processed).toEqual(field(row.expected, 'processed_after_resume'));
    },
  },
  'control/admin.evict': {
    differs: 'worker statistics are not written yet',
    async run(at, row) {
      const store = at.open();
      const worker = await work(at, store, () => 'ok', {workerId: 'worker-w'});
      await setLifecycle(at.redis(), store, WORKER, 'evicted');
      expect(await worker.done).toBe('evicted');
      await compareLeftKeys(at, store, row);
    },
  },
  'control/admin.restart_of_evicted_id': {
    differs: 'the start fails and says why, in place of an exit without a word',
    async run(at, row) {
      const store = at.open();
      await setLifecycle(at.redis(), store, WORKER, 'evicted');
      await expect(work(at, store, () => 'ok', {workerId: 'worker-w'})).rejects.toMatchObject({
        code: 'CONFLICT',
      });
      await compareLeftKeys(at, store, row);
    },
  },
};

// Services. The rows come one after the other, too.

async function registered(at: TestStore, row: Row) {
  const store = storeFor(at, row);
  const {input} = behaviouralRows('registry').find(({id}) => id === 'discovery/v1.register') ?? row;
  const {service_name: service, host, port, weight, metadata, path_prefix: pathPrefix} = asDoc(input);
  const registry = new ServiceRegistry(store, {now: () => NOON});
  at.cleanup(() => registry.stop());
  const registration = {service, host, port, weight, metadata, pathPrefix, id: 'svc:3d5e736b'};
  const {unregister} = await registry.register(registration as ServiceRegistration);
  return {store, unregister};
}

async function compareServices(at: TestStore, store: Store, row: Row): Promise<void> {
  const found = await contents(at.redis(), store);
  const wanted = asDoc(field(row.expected, 'redis'));
  expect(Object.keys(found)).toEqual(Object.keys(wanted).sort());
  for (const [name, {type, value, ttl}] of Object.entries(found)) {
    const doc = asDoc(wanted[name]);
    expect([type, ttl], name).toEqual([doc['type'], doc['ttl_seconds']]);
    const members = doc['value'];
    if (type === 'hash') expect(value).toEqual(mapped(members));
    else expect(value).toEqual(type === 'zset' ? (members as unknown[]).flat().map(String) : members);
  }
}

const mapped = (hash: unknown) =>
  Object.fromEntries(Object.entries(asDoc(hash)).map(([id, text]) => [id, JSON.parse(text as string)]));

const registers: RowTest = {
  async run(at, row) {
    await compareServices(at, (await registered(at, row)).store, row);
  },
};

const findsInstances: RowTest = {
  async run(at, row) {
    const {store} = await registered(at, row);
    const found = await new DiscoveryClient(store, {now: () => NOON}).instances('svc');
    const wire = found.map(({lastHeartbeat, ...instance}) => ({
      ...(JSON.parse(encodeServiceInstance(instance)) as object),
      last_heartbeat: lastHeartbeat,
    }));
    expect(wire).toEqual(row.expected);
  },
};

const unregisters: RowTest = {
  async run(at, row) {
    const {store, unregister} = await registered(at, row);
    await unregister();
    await compareServices(at, store, row);
  },
};

const services: Record<string, RowTest> = {
  'discovery/v1.register': registers,
  'discovery/v1.get_instances': findsInstances,
  'discovery/v1.unregister': unregisters,
  'discovery/v2.register': registers,
  'discovery/v2.get_instances': findsInstances,
  'discovery/v2.unregister': unregisters,
};

runRows('registry', {...steps, ...services, ...decisions, ...admin});
