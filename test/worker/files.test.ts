/** Files of sessions that a worker keeps somewhere else than in workspaces. */
import {S3Client} from '@aws-sdk/client-s3';
import {expect, test} from 'vitest';
import {GatewayClient} from '../../src/client/client.js';
import {withQuota} from '../../src/files/quota.js';
import {s3Files} from '../../src/integrations/s3/s3-files.js';
import {silentLogger} from '../../src/log.js';
import {defineAgent} from '../../src/worker/agent.js';
import {startWorker} from '../../src/worker/runner.js';
import {S3_KEY, startS3Server} from '../support/s3-server.js';
import {describeEachStore, until} from '../support/stores.js';

describeEachStore('files of a session in a bucket', at => {
  test('are there for each turn of it, on any worker, and for no other session', async () => {
    const store = at.open();
    const server = await startS3Server('files');
    at.cleanup(() => server.close());
    const agent = defineAgent({
      type: 'scribe',
      async run({files}, {text}) {
        const names = (await files.list()).files.map(({name}) => name);
        await files.put(text, text);
        return names.join(' ');
      },
    });
    const start = async (workerId: string) => {
      const client = new S3Client({
        ...{endpoint: server.endpoint, region: server.region, forcePathStyle: true, credentials: S3_KEY},
      });
      at.cleanup(() => client.destroy());
      const worker = await startWorker(store, {
        ...{agents: [agent], log: silentLogger, workerId},
        files: ({folder}) => withQuota(s3Files({bucket: 'files', prefix: folder, client}), {maxBytes: 10}),
      });
      at.cleanup(() => worker.stop({drainMs: 0}));
      return worker;
    };
    const client = new GatewayClient(store);
    const ask = async (sessionId: string, content: string) => {
      const sent = await client.send({agentType: 'scribe', content, sessionId, policy: 'SEND_ANYWAY'});
      return until(async () => {
        const found = await client.find(sent.sessionId, sent.messageId);
        return /COMPLETED|FAILED/.test(found?.status ?? '') && found;
      });
    };
    const first = await start('w-1');
    await ask('s-1', 'one');
    await first.stop({drainMs: 1000});
    await start('w-2');
    await ask('s-1', 'two');
    await ask('../s-2', 'three').catch(() => undefined);
    await ask('s-2', 'three');
    expect(
      server
        .keys()
        .map(key => key.replace(/^[0-9a-f]{40}\//, '<session>/'))
        .sort(),
    ).toEqual([...['<session>/one', '<session>/three', '<session>/two']]);
    const folders = new Set(server.keys().map(key => key.split('/')[0]));
    expect(folders.size).toBe(2);
    expect((await ask('s-1', 'too much')).status).toBe('FAILED');
  });
});
