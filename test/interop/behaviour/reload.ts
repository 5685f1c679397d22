/** Reloading plugins, against the rows of control.json; and which configuration an execution ran with, of executions.json. */
import {expect} from 'vitest';
import {GatewayClient} from '../../../src/client/client.js';
import type {Plugin} from '../../../src/plugins/plugin.js';
import {encodeReloadAck} from '../../../src/protocol/reload.js';
import {groupsOf} from '../../../src/store/control-streams.js';
import {until, type TestStore} from '../../support/stores.js';
import {asDoc, at as field, type Doc, type Row} from '../vectors.js';
import {
  bringOnline,
  common,
  contents,
  drained,
  named,
  onlyRecord,
  recordWith,
  streamOf,
  work,
  type RowTest,
} from './support.js';

const WORKER = 'worker-w';
const ACKS = (id: string) => `byai_gateway:plugin_reload:${id}:ack`;

const writing = (prompt: () => string): Plugin => ({
  manifest: {name: 'writing', version: '1'},
  registerAgentConfigs: () => [{agentId: 'writer', prompts: {system: prompt()}}],
});

/** The commands as the row has them: nobody reads the stream. */
async function compareCommands(at: TestStore, row: Row): Promise<void> {
  const store = at.open();
  await bringOnline(store, WORKER, ['writer']);
  const client = new GatewayClient(store);
  for (const reason of ['new prompts', 'same id'])
    await client.reloadPlugins('writer', {reloadId: 'reload-1', reason});
  const stream = streamOf(await contents(at.redis(), store), `byai_gateway:ctrl:worker:${WORKER}`);
  const anonymous = (commands: readonly unknown[]) =>
    commands.map(command => {
      const {message_id: message, trace_id: trace} = asDoc(asDoc(command)['header']);
      return common(named(command, {[message as string]: '<message>', [trace as string]: '<trace>'}));
    });
  expect(anonymous(stream)).toEqual(anonymous(field(row.expected, 'worker_stream') as Doc[]));
}

/** The audit without what only the text of the prompt decides. */
function withoutHashes(audit: unknown): unknown {
  return JSON.parse(JSON.stringify(audit), (key, value: unknown) =>
    key === 'prompt_hashes' || key === 'snapshot_hash' ? '<hash>' : value,
  ) as unknown;
}

export const reloads: Record<string, RowTest> = {
  'control/reload.success': {
    differs: 'the answers have a lifetime, and the settled command is deleted',
    async run(at, row) {
      await compareCommands(at, row);
      const store = at.open();
      const redis = at.redis();
      let prompt = 'old';
      const worker = await work(at, store, () => ({content: 'x'}), {
        workerId: WORKER,
        plugins: [writing(() => prompt)],
      });
      prompt = 'new';
      const client = new GatewayClient(store);
      const response = await client.reloadPlugins('writer', {reloadId: 'reload-1', reason: 'new prompts'});
      expect({
        ...{reload_id: response.reloadId, agent_type: response.agentType},
        ...{worker_ids: response.workerIds, dispatched_count: response.dispatchedCount},
      }).toEqual(field(row.expected, 'response'));
      await client.reloadPlugins('writer', {reloadId: 'reload-1', reason: 'same id'});
      const acks = await until(async () => {
        const found = (await client.collectReloadAcks('reload-1')).acks;
        return found.length === 2 && found;
      });
      const written = acks.map(ack => JSON.parse(encodeReloadAck(ack)) as unknown);
      expect(written.slice(0, 1)).toEqual(field(row.expected, 'acks'));
      const stream = asDoc(field(row.expected, 'ack_stream'));
      expect(written).toEqual((stream['entries'] as Doc[]).map(({data}) => data));
      expect((await contents(redis, store))[ACKS('reload-1')]?.ttl).toBeGreaterThan(86_000);

      const nobody = await client.reloadPlugins('nobody');
      expect(nobody).toMatchObject({agentType: 'nobody', workerIds: [], dispatchedCount: 0});
      await client.send({agentType: 'writer', content: 'x', sessionId: 'sess-1'});
      await recordWith(redis, store, 'COMPLETED');
      const {agent_config_audit: audit} = await onlyRecord(redis, store);
      const [theirs] = field(row.expected, 'agent_config_audit_on_next_execution') as Doc[];
      expect(withoutHashes(audit)).toEqual(withoutHashes(theirs));
      await worker.stop();
    },
  },
  'control/reload.failure': {
    differs: 'a worker whose plugins never loaded does not start, so here they were loaded once',
    async run(at, row) {
      const store = at.open();
      let isBad = false;
      const plugin = writing(() => {
        if (isBad) throw new Error('bad config');
        return 'good';
      });
      await work(at, store, () => ({content: 'x'}), {workerId: WORKER, plugins: [plugin]});
      isBad = true;
      const client = new GatewayClient(store);
      await client.reloadPlugins('writer', {reloadId: 'reload-2', reason: 'r'});
      const [ack] = await until(async () => {
        const found = (await client.collectReloadAcks('reload-2')).acks;
        return found.length === 1 && found;
      });
      const [wanted] = asDoc(field(row.expected, 'ack_stream'))['entries'] as Doc[];
      const theirs = asDoc(wanted?.['data']);
      expect(ack?.error).toContain(theirs['error']);
      expect(ack?.versionAfter).toBe(ack?.versionBefore);
      const versions = {version_before: 0, version_after: 0, error: 'bad config'};
      expect({...(JSON.parse(encodeReloadAck(ack!)) as Doc), ...versions}).toEqual(theirs);
      const stream = store.keys.workerCtrlStream(WORKER);
      await drained(at.redis(), stream);
      const [wantedGroup] = field(row.expected, 'worker_stream_groups') as Doc[];
      const [group] = await groupsOf(store, stream);
      expect([group?.pending, group?.consumers]).toEqual([
        wantedGroup?.['pending'],
        wantedGroup?.['consumers'],
      ]);
    },
  },
};

export const snapshots: Record<string, RowTest> = {
  'executions/exec.3_fields': {
    differs: 'noted with the end of a turn, and beside the snapshot only where the execution waits',
    async run(at, row) {
      const store = at.open();
      const redis = at.redis();
      await work(at, store, () => ({status: 'WAITING_USER'}), {plugins: [writing(() => 'x')]});
      await new GatewayClient(store).send({agentType: 'writer', content: 'x', sessionId: 'sess-1'});
      const record = await recordWith(redis, store, 'WAITING_USER');
      const given = asDoc(row.input);
      expect(record['agent_configs_version']).toBe(given['agent_configs_version']);
      // The row's key is the execution's id, too.
      expect(given['agent_configs_snapshot_key']).toBe('exec-12345678');
      expect(record['agent_configs_snapshot_key']).toBe(record['execution_id']);
    },
  },
};
