/** What a worker logs of its turns, and how much of it. */
import {expect, test} from 'vitest';
import {GatewayClient} from '../../src/client/client.js';
import {loggerTo, type LogFields} from '../../src/log.js';
import {clearLogLevel, MAX_LOG_LEVEL_MS, readLogLevel, setLogLevel} from '../../src/store/log-levels.js';
import {defineAgent} from '../../src/worker/agent.js';
import {startWorker} from '../../src/worker/runner.js';
import {describeEachStore, until} from '../support/stores.js';

describeEachStore('the log of a worker', at => {
  test('names session, message, execution and attempt in every line of a turn', async () => {
    const store = at.open();
    const lines: {message: string; fields: LogFields}[] = [];
    const log = loggerTo((_level, message, fields) => void lines.push({message, fields}), 'debug');
    let tries = 0;
    const agent = defineAgent({
      type: 'talker',
      retry: {maxAttempts: 2, baseMs: 1, maxMs: 2},
      run: ctx => {
        ctx.log.info('working', {page: 7});
        if (++tries === 1) throw new Error('once');
        return 'done';
      },
    });
    const worker = await startWorker(store, {agents: [agent], workerId: 'w-1', log});
    at.cleanup(() => worker.stop({drainMs: 0}));
    const sent = await new GatewayClient(store).send({agentType: 'talker', content: 'x'});
    await until(() => lines.some(({message}) => message === 'completed'));
    const ofTurns = lines.filter(({fields}) => 'session_id' in fields);
    expect(ofTurns.map(({message, fields}) => [message, fields['attempt']])).toEqual([
      ...['started', 'working', 'failed, to be tried again'].map(message => [message, 1]),
      ...['started', 'working', 'completed'].map(message => [message, 2]),
    ]);
    for (const {fields} of ofTurns) {
      expect(fields).toMatchObject({
        ...{worker_id: 'w-1', session_id: sent.sessionId, message_id: sent.messageId},
        execution_id: sent.executionId,
      });
    }
  });

  test('says more while an operator wants it, and then what it said before', async () => {
    const store = at.open();
    const said: string[] = [];
    const log = loggerTo((level, message) => void said.push(`${level} ${message}`));
    const agent = defineAgent({
      type: 'talker',
      run: ctx => {
        ctx.log.debug('a detail');
      },
    });
    const worker = await startWorker(store, {agents: [agent], workerId: 'w-1', log, leaseMs: 500});
    at.cleanup(() => worker.stop({drainMs: 0}));
    const client = new GatewayClient(store);
    const run = async () => {
      const sent = await client.send({agentType: 'talker', content: 'x', policy: 'SEND_ANYWAY'});
      await until(async () => (await client.find(sent.sessionId, sent.messageId))?.status === 'COMPLETED');
    };
    await run();
    expect(said).not.toContain('debug a detail');

    await setLogLevel(store, 'w-1', {level: 'debug', forMs: Infinity});
    const {level, expiresInMs} = (await readLogLevel(store, 'w-1'))!;
    expect(level).toBe('debug');
    expect(expiresInMs).toBeLessThanOrEqual(MAX_LOG_LEVEL_MS);
    await until(() => said.includes('info log level changed'));
    await run();
    expect(said).toContain('debug a detail');

    said.length = 0;
    expect(await clearLogLevel(store, 'w-1')).toBe(true);
    expect(await clearLogLevel(store, 'w-1')).toBe(false);
    await until(() => said.includes('info log level changed'));
    await run();
    expect(said).not.toContain('debug a detail');
  });
});
