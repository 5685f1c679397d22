/** Examples of what other libraries bring: tools of MCP servers for models, traces, history and files elsewhere. */
import {afterAll, beforeAll, expect, test} from 'vitest';
import {toyModel} from '../../examples/assistant.js';
import {tell} from '../../examples/observed.js';
import {converter} from '../../examples/remote-tools.js';
import {startOtlpReceiver} from '../support/otlp-receiver.js';
import {startPostgres, type PostgresServer} from '../support/postgres-server.js';
import {S3_KEY, startS3Server} from '../support/s3-server.js';
import {describeEachStore} from '../support/stores.js';
import {chance, mortal, playCalm, playStormy, type Play} from './support.js';

describeEachStore('the converter', at => {
  const play: Play = {agents: [converter(toyModel())], agentType: 'converter', content: 'convert'};

  test('uses tools of an MCP server and its own alike', async () => {
    expect((await playCalm(at, at.open(), play)).final).toBe('42.2 km. 4.5 kg. ');
  });

  test('reads as if nobody had died', async () => {
    const calm = await playCalm(at, at.open(), play);
    expect((await playStormy(at, at.open(), play, mortal(chance(1)))).played).toEqual(calm);
  });
});

describeEachStore('the story that is told', at => {
  let postgres: PostgresServer;
  beforeAll(async () => {
    postgres = await startPostgres();
  });
  afterAll(() => postgres.stop());

  test('is traced, remembered in PostgreSQL, and kept in a bucket', async () => {
    const store = at.open();
    const receiver = await startOtlpReceiver();
    at.cleanup(() => receiver.close());
    const bucket = await startS3Server('stories');
    at.cleanup(() => bucket.close());
    const answers = await tell(['Once', 'there was'], {
      redis: {url: at.url(), prefix: store.keys.prefix, keySchema: store.keys.schema},
      otlpEndpoint: receiver.url,
      ...{postgresUrl: await postgres.createDatabase(), bucket: 'stories'},
      s3: {
        ...{endpoint: bucket.endpoint, region: bucket.region, forcePathStyle: true, credentials: S3_KEY},
      },
    });
    expect(answers).toEqual([
      'Once: line 1 of the story, 4 bytes',
      'there was: line 2 of the story, 14 bytes',
    ]);
    expect(bucket.keys()).toEqual([expect.stringMatching(/^stories\/[0-9a-f]{40}\/story\.txt$/)]);
    expect(receiver.spans().filter(({name}) => name === 'worker.execute storyteller')).toHaveLength(2);
    expect(receiver.spans().filter(({name}) => name === 'step keep the story')).toHaveLength(2);
  });
});
