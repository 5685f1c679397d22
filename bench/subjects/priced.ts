/**
 * What a task costs in steps, end to end: the hand-written loop of raw.ts with the documents of the protocol, then with records
 * beside them, as one would write it without guarantees. Bundled as users' code is (built.ts), for what translates sources has a
 * price too.
 */
import {Redis, type ChainableCommander} from 'ioredis';
import {newEventId, newExecutionId, newHexUuid, newMessageId, spanIdHex} from '../../src/ids.js';
import {encodeSendable, type AskCommand, type Command} from '../../src/protocol/commands.js';
import {chunkEvent, encodeEvent, endOfStreamEvent, type EventContext} from '../../src/protocol/events.js';
import {
  decodeRecord,
  encodeRecord,
  execField,
  msgMapField,
  newExecutionRecord,
  type ExecutionRecord,
} from '../../src/protocol/execution.js';
import {createHeader, type Header} from '../../src/protocol/header.js';
import {readEntry} from '../../src/worker/read-entry.js';
import {quantile} from '../stats.js';
import {inFlight, perSecond, until, type StreamReply} from '../subject.js';

export type Step = 'documents' | 'records';

const [TASKS, TYPE] = ['q', 'a'];
export const GROUP = 'g';
const SESSIONS = 1000;
export const TTL_S = 604_800;
export const registryOf = (session: string) => `r:${session}`;
export const eventsOf = (session: string) => `e:${session}`;

/** @param more of the header. */
export function newAsk(
  sessionId: string,
  more: Partial<Header> = {},
): {command: AskCommand; executionId: string} {
  const [messageId, executionId] = [newMessageId(), newExecutionId()];
  const span = spanIdHex(`${messageId}:client.dispatch`);
  const header = createHeader({
    ...{messageId, sessionId, traceId: newHexUuid(), targetAgentType: TYPE, ...more},
    metadata: {by_execution_id: executionId, by_sent_at: Date.now()},
    ...{traceParentSpanId: span, langfuseParentObservationId: span},
  });
  const waitForReply = header.sourceAgentType !== '';
  const command = {action: 'ASK_AGENT', header, content: 'x', waitForReply, extraPayload: {}} as const;
  return {command, executionId};
}

export function recordOf({header}: AskCommand, executionId: string): string {
  const {messageId, sessionId, traceId, targetAgentType, parentMessageId} = header;
  const route = {policy: 'FAIL_FAST', status: 'DELIVER_NOW'};
  return encodeRecord(
    newExecutionRecord({
      ...{executionId, messageId, sessionId, traceId, sourceAgentType: 'client', targetAgentType},
      ...{streamName: TASKS, now: Date.now(), route, parentMessageId},
    }),
  );
}

const send = (redis: Redis, sessionId: string, step: Step) => sendAsk(redis, TASKS, newAsk(sessionId), step);

export async function sendAsk(
  redis: Redis,
  stream: string,
  {command, executionId}: ReturnType<typeof newAsk>,
  step: Step,
): Promise<void> {
  const pipeline = redis.pipeline();
  if (step === 'records') noteNew(pipeline, command, executionId);
  await pipeline.xadd(stream, '*', 'data', encodeSendable(command)).exec();
}

/** The record of what is sent. */
export function noteNew(pipeline: ChainableCommander, command: AskCommand, executionId: string): void {
  const {messageId, sessionId} = command.header;
  const record = recordOf(command, executionId);
  pipeline
    .hset(
      registryOf(sessionId),
      ...[execField(executionId), record],
      ...[msgMapField(messageId), executionId],
    )
    .expire(registryOf(sessionId), TTL_S);
}

/** What becomes of it. */
export function noteStatus(
  pipeline: ChainableCommander,
  {sessionId}: Header,
  executionId: string,
  record: ExecutionRecord | undefined,
  status: string,
): void {
  if (record === undefined) return;
  const timeline = [...record.timeline, {status, timestamp: Date.now()}];
  const text = encodeRecord({...record, status, timeline, updatedAt: Date.now()});
  pipeline.hset(registryOf(sessionId), execField(executionId), text);
}

export interface Given {
  readonly id: string;
  readonly command: AskCommand;
  /** With records. */
  readonly executionId: string;
}

export const readTask = (id: string, data: string): Command =>
  readEntry({stream: TASKS, id, data: Buffer.from(data)});

export function given(id: string, command: Command): Given {
  if (command.action !== 'ASK_AGENT') throw new Error(`${command.action} is no task`);
  return {id, command, executionId: String(command.header.metadata['by_execution_id'])};
}

/** A worker that answers all it was given at once, in one write; with records a read before that. */
async function start(url: string, step: Step) {
  const [reader, writer] = [new Redis(url), new Redis(url)];
  await reader.xgroup('CREATE', TASKS, GROUP, '0', 'MKSTREAM');
  await writer.ping();
  let ended = 0;
  const stopping = new AbortController();
  const loop = (async () => {
    while (!stopping.signal.aborted) {
      const reply = (await reader.xreadgroup(
        'GROUP', GROUP, 'c', 'COUNT', 50, 'BLOCK', 1000, 'STREAMS', TASKS, '>',
      )) as StreamReply | null; // prettier-ignore
      const tasks = (reply?.[0]?.[1] ?? []).map(([id, [, data = '']]) => given(id, readTask(id, data)));
      if (tasks.length === 0) continue;
      const records = step === 'records' ? await recordsOf(writer, tasks) : [];
      const pipeline = writer.pipeline();
      tasks.forEach((task, i) => {
        const {sessionId} = task.command.header;
        const record = records[i];
        const write = (status: string) =>
          noteStatus(pipeline, task.command.header, task.executionId, record, status);
        write('RUNNING');
        const at = emitterOf(task);
        pipeline.xadd(eventsOf(sessionId), '*', 'data', encodeEvent(chunkEvent(at, 'token ')));
        pipeline.xadd(eventsOf(sessionId), '*', 'data', encodeEvent(endOfStreamEvent(at)));
        write('COMPLETED');
      });
      const ids = tasks.map(({id}) => id);
      await pipeline
        .xack(TASKS, GROUP, ...ids)
        .xdel(TASKS, ...ids)
        .exec();
      ended += ids.length;
    }
  })();
  return {
    allEnded: (count: number) => until(() => ended >= count),
    stop: async () => {
      stopping.abort();
      await loop;
      for (const redis of [reader, writer]) redis.disconnect();
    },
  };
}

export async function recordsOf(redis: Redis, tasks: readonly Given[]) {
  const pipeline = redis.pipeline();
  for (const {command, executionId} of tasks)
    pipeline.hget(registryOf(command.header.sessionId), execField(executionId));
  return ((await pipeline.exec()) ?? []).map(([, text]) => decodeRecord(String(text)));
}

export const emitterOf = ({command: {header}}: Given): EventContext => ({
  ...{traceId: header.traceId, sessionId: header.sessionId, sourceAgentType: header.targetAgentType},
  ...{messageId: header.messageId, parentMessageId: '', subAgent: false, now: Date.now, newEventId},
});

export async function sendInFlight(step: Step, url: string, count: number): Promise<number> {
  const sender = new Redis(url);
  await sender.ping();
  const rate = await perSecond(count, () =>
    inFlight(count, 100, i => send(sender, `s-${i % SESSIONS}`, step)),
  );
  sender.disconnect();
  return rate;
}

/** @returns the median time to the first chunk, nothing else going on, in milliseconds. */
export async function latency(step: Step, url: string, count: number): Promise<number> {
  const [sender, reader] = [new Redis(url), new Redis(url)];
  const {allEnded, stop} = await start(url, step);
  const times: number[] = [];
  for (let i = 0; i < count; i++) {
    const seen = reader.xread('BLOCK', 0, 'STREAMS', eventsOf(`s-${i}`), '0');
    const startedAt = performance.now();
    await send(sender, `s-${i}`, step);
    await seen;
    times.push(performance.now() - startedAt);
    await allEnded(i + 1);
  }
  await stop();
  for (const redis of [sender, reader]) redis.disconnect();
  return quantile(times, 0.5);
}

export async function endToEnd(step: Step, url: string, count: number): Promise<number> {
  const sender = new Redis(url);
  await sender.ping();
  const {allEnded, stop} = await start(url, step);
  const rate = await perSecond(count, async () => {
    await inFlight(count, 100, i => send(sender, `s-${i % SESSIONS}`, step));
    await allEnded(count);
  });
  await stop();
  sender.disconnect();
  return rate;
}
