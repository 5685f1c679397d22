/**
 * A client and a worker whose traces go to OpenTelemetry, whose history is in PostgreSQL, and whose files are in a bucket.
 *
 *   OTEL_EXPORTER_OTLP_ENDPOINT=http://localhost:4318 DATABASE_URL=postgres://… S3_BUCKET=… npx tsx examples/observed.ts
 *
 * With `by worker run` the same is said in by.config: `tracing`, `history` and `files`.
 */
import type {S3ClientConfig} from '@aws-sdk/client-s3';
import {createClient, defineAgent, eventKind, eventText, startWorker} from 'by-toolkit';
import {startTracing} from 'by-toolkit/otel';
import {migratePostgresHistory, postgresHistory} from 'by-toolkit/postgres';
import {s3Files, withQuota} from 'by-toolkit/s3';

/** Remembers what it was told in the session, and keeps the story in a file. */
export const storyteller = defineAgent({
  type: 'storyteller',
  async run(ctx, ask) {
    const said = await ctx.history.get(10);
    const story = said
      .filter(({role}) => role === 'user')
      .map(({content}) => (typeof content === 'string' ? content : JSON.stringify(content)));
    const kept = await ctx.step('keep the story', () => ctx.files.put('story.txt', story.join('\n')));
    return {content: `${ask.text}: line ${story.length} of the story, ${kept.size} bytes`};
  },
});

export interface Places {
  readonly redis: {readonly url: string; readonly prefix?: string; readonly keySchema?: 'v1' | 'v2'};
  /** Where OTLP is taken. */
  readonly otlpEndpoint: string;
  readonly postgresUrl: string;
  readonly bucket: string;
  readonly s3?: S3ClientConfig;
}

/** Tell the story, a message a line. @returns what the agent answered. */
export async function tell(lines: readonly string[], places: Places): Promise<string[]> {
  const {redis, bucket, s3 = {}} = places;
  const tracing = await startTracing({endpoint: places.otlpEndpoint, serviceName: 'stories'});
  const history = postgresHistory({url: places.postgresUrl});
  await migratePostgresHistory({url: places.postgresUrl});
  const worker = await startWorker(redis, {
    ...{agents: [storyteller], tracer: tracing.tracer, history},
    files: ({folder}) =>
      withQuota(s3Files({bucket, prefix: `stories/${folder}`, config: s3}), {maxBytes: 1_000_000}),
  });
  const client = createClient({...redis, tracer: tracing.tracer});
  try {
    const answers: string[] = [];
    for (const line of lines) {
      const sent = await client.send({agentType: 'storyteller', content: line, sessionId: 'the-story'});
      answers.push(await answerOf(client, sent));
    }
    return answers;
  } finally {
    client.close();
    await worker.stop();
    await history.close();
    await tracing.stop();
  }
}

async function answerOf(
  client: ReturnType<typeof createClient>,
  {sessionId, messageId}: {readonly sessionId: string; readonly messageId: string},
): Promise<string> {
  for await (const item of client.follow(sessionId))
    if (item.kind === 'event' && eventKind(item.event) === 'final' && item.event.messageId === messageId)
      return eventText(item.event);
  throw new Error('The stream of the session has ended.');
}

const {OTEL_EXPORTER_OTLP_ENDPOINT: otlpEndpoint, DATABASE_URL: postgresUrl, S3_BUCKET: bucket} = process.env;
if (otlpEndpoint !== undefined && postgresUrl !== undefined && bucket !== undefined) {
  const redis = {url: process.env['BY_REDIS_URL'] ?? 'redis://localhost:6379'};
  for (const answer of await tell(['Once', 'there was'], {redis, otlpEndpoint, postgresUrl, bucket}))
    console.log(answer);
}
