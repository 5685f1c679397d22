import {expect, test} from 'vitest';
import {silentLogger} from '../../src/log.js';
import {statusSweeperRole} from '../../src/orchestration/status-role.js';
import {AgentStatusService} from '../../src/registry/agent-status-service.js';
import {serverTimeMs} from '../../src/store/store.js';
import {ago, FOREIGN_RULES, foreignWorker} from '../support/status.js';
import {describeEachStore, until} from '../support/stores.js';

describeEachStore('the sweeping role', at => {
  test('makes the silent offline, lets the exhausted recover, and reads off foreign workers', async () => {
    at.breaksRules(...FOREIGN_RULES);
    const store = at.open();
    const service = new AgentStatusService(store);
    for (const id of ['silent', 'spent']) await service.heartbeat(id, {agentTypes: ['a']});
    await service.exhaust('spent', {reason: 'rate_limit', recoveryInMs: 3_600_000});
    await ago(store, 'silent', {heartbeat: 121_000});
    await ago(store, 'spent', {recovery: 1});
    await foreignWorker(store, 'py-1', {lastSeen: Math.floor(await serverTimeMs(store)), agentType: 'a'});

    const over = new AbortController();
    const roles = [1, 2, 3].map(() => statusSweeperRole(store, {log: silentLogger, everyMs: 50}));
    const running = roles.map(role => role.run(over.signal));
    await until(async () => {
      const found = await Promise.all(['silent', 'spent', 'py-1'].map(id => service.get(id)));
      return found.map(one => one?.status).join() === 'offline,idle,idle';
    });
    over.abort();
    await Promise.all(running);
    const changes = (await service.notes()).filter(({fields}) => fields['to'] === 'offline');
    expect(changes).toHaveLength(1);
  });

  test('goes on after Redis was away', async () => {
    const store = at.open();
    const service = new AgentStatusService(store);
    await service.heartbeat('silent', {agentTypes: ['a']});
    await ago(store, 'silent', {heartbeat: 121_000});
    let failures = 2;
    const commands = new Proxy(store.commands, {
      get(target, name) {
        if (name === 'run' && failures > 0)
          return () => {
            failures--;
            return Promise.reject(new Error('away'));
          };
        const value: unknown = Reflect.get(target, name, target);
        return typeof value === 'function' ? (value.bind(target) as unknown) : value;
      },
    });
    const over = new AbortController();
    const role = statusSweeperRole({...store, commands}, {log: silentLogger, everyMs: 20});
    const running = role.run(over.signal);
    await until(async () => (await service.get('silent'))?.status === 'offline');
    over.abort();
    await running;
    expect(failures).toBe(0);
  });
});
