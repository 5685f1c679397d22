/** Workers that die while they reload: the reload is made up for, and what ran is run again. */
import {mkdtempSync, realpathSync, rmSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {expect, test} from 'vitest';
import {awaitReload, reloadPlugins} from '../../src/client/reload.js';
import {readReports} from '../../src/store/plugin-state.js';
import {describeEachServer, until} from '../support/stores.js';
import {AGENTS_FILE, send, settled, spawnWorker, TYPE, withStatus} from './support.js';

describeEachServer('a worker killed while it reloads', at => {
  test.each(['before the command is read', 'in the middle'])('%s, and the next of its id', async when => {
    const dir = realpathSync(mkdtempSync(join(tmpdir(), 'by-dies-')));
    at.cleanup(() => rmSync(dir, {recursive: true}));
    const flag = join(dir, 'die');
    const plugin = join(dir, 'plugin.mjs');
    writeFileSync(
      plugin,
      `import {existsSync} from 'node:fs';
      export default {
        manifest: {name: 'mortal', version: '1'},
        reload: () => existsSync(${JSON.stringify(flag)}) && process.kill(process.pid, 'SIGKILL'),
        registerAgentConfigs: () => [{agentId: '${TYPE}', prompts: {system: 'x'}}],
      };`,
      {mode: 0o644},
    );
    const store = at.open();
    const options = {workerId: 'worker-mortal', plugins: [plugin], agentsFile: AGENTS_FILE};
    // Long: stopped or not, it counts as online until it is dead.
    const first = await spawnWorker(at, store, {...options, leaseMs: 60_000});
    const gate = join(dir, 'gate');
    const running = await send(store, `wait-for ${gate}`);
    await withStatus(store, running, 'RUNNING');
    if (when === 'in the middle') writeFileSync(flag, '');
    else first.kill('SIGSTOP');
    const sent = await reloadPlugins(store, TYPE, {reason: 'mortal'});
    expect(sent.workerIds).toEqual(['worker-mortal']);
    if (when !== 'in the middle') first.kill('SIGKILL');
    await first.exit;
    // Its lease runs out.
    await at.redis().del(store.keys.workerLease('worker-mortal'));
    rmSync(flag, {force: true});

    await spawnWorker(at, store, {...options, claimTimeoutMs: 20_000});
    const {acks, missing} = await awaitReload(store, sent, {waitMs: 25_000});
    expect([acks.map(({status}) => status), missing]).toEqual([['success'], []]);
    writeFileSync(gate, '');
    const record = await withStatus(store, running, 'COMPLETED');
    expect(record.agentConfigsVersion).toBeGreaterThan(0);
    await settled(at, store);
    await until(async () => {
      const [report] = await readReports(store, ['worker-mortal']);
      return report?.reloads[TYPE] === 1;
    });
  });
});
