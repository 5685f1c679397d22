/** What calls cost in steps, as priced.ts: a hand-written worker that serves the caller and whom it calls. */
import {Redis} from 'ioredis';
import {encodeSendable, type Command} from '../../src/protocol/commands.js';
import {encodeEvent, endOfStreamEvent, finalAnswerEvent} from '../../src/protocol/events.js';
import type {ExecutionRecord} from '../../src/protocol/execution.js';
import {askersContext, encodeReply} from '../../src/protocol/reply.js';
import {lastAnswer} from '../last-answer.js';
import type {StreamReply} from '../subject.js';
import {
  emitterOf,
  eventsOf,
  given,
  GROUP,
  newAsk,
  noteNew,
  noteStatus,
  readTask,
  recordsOf,
  sendAsk,
  type Given,
  type Step,
} from './priced.js';

const [CALLER, CALLEE] = ['caller', 'callee'];
const streamOf = (agentType: string) => `q:${agentType}`;

/** A task that waits for so many answers. */
interface Waiting {
  readonly task: Given;
  readonly record: ExecutionRecord | undefined;
  readonly entries: string[];
  left: number;
}

/** Reads one agent type's stream and hands on what came together. */
async function serve(
  url: string,
  agentType: string,
  signal: AbortSignal,
  handle: (came: [id: string, command: Command][]) => Promise<void>,
) {
  const reader = new Redis(url);
  const stream = streamOf(agentType);
  await reader.xgroup('CREATE', stream, GROUP, '0', 'MKSTREAM');
  const loop = (async () => {
    while (!signal.aborted) {
      const reply = (await reader.xreadgroup(
        'GROUP', GROUP, 'c', 'COUNT', 50, 'BLOCK', 200, 'STREAMS', stream, '>',
      )) as StreamReply | null; // prettier-ignore
      const came = (reply?.[0]?.[1] ?? []).map(([id, [, data = '']]): [string, Command] => [
        id,
        readTask(id, data),
      ]);
      if (came.length > 0) await handle(came);
    }
    reader.disconnect();
  })();
  return () => loop;
}

/** Asks a task that has so many others done, and reads until it has ended. @returns milliseconds of each time. */
export async function calls(step: Step, url: string, count: number, width: number): Promise<number[]> {
  const [sender, worker, reader] = [new Redis(url), new Redis(url), new Redis(url)];
  const stopping = new AbortController();
  const waiting = new Map<string, Waiting>();
  const lookUp = async (tasks: readonly Given[]) => (step === 'records' ? recordsOf(worker, tasks) : []);

  const callersEnd = await serve(url, CALLER, stopping.signal, async came => {
    const asked = came
      .filter(([, {action}]) => action === 'ASK_AGENT')
      .map(([id, command]) => given(id, command));
    const records = await lookUp(asked);
    const pipeline = worker.pipeline();
    asked.forEach((task, i) => {
      const {header} = task.command;
      waiting.set(header.messageId, {task, record: records[i], entries: [task.id], left: width});
      noteStatus(pipeline, header, task.executionId, records[i], 'RUNNING');
      for (let call = 0; call < width; call++) {
        const {command, executionId} = newAsk(header.sessionId, {
          ...{targetAgentType: CALLEE, sourceAgentType: CALLER, traceId: header.traceId},
          parentMessageId: header.messageId,
        });
        if (step === 'records') noteNew(pipeline, command, executionId);
        pipeline.xadd(streamOf(CALLEE), '*', 'data', encodeSendable(command));
      }
    });
    for (const [id, command] of came) {
      const one = command.action === 'RESUME' ? waiting.get(command.header.messageId) : undefined;
      if (one === undefined) continue;
      one.entries.push(id);
      if (--one.left > 0) continue;
      const {header} = one.task.command;
      const at = emitterOf(one.task);
      pipeline.xadd(eventsOf(header.sessionId), '*', 'data', encodeEvent(finalAnswerEvent(at, 'joined all')));
      pipeline.xadd(eventsOf(header.sessionId), '*', 'data', encodeEvent(endOfStreamEvent(at)));
      noteStatus(pipeline, header, one.task.executionId, one.record, 'COMPLETED');
      pipeline.xack(streamOf(CALLER), GROUP, ...one.entries).xdel(streamOf(CALLER), ...one.entries);
    }
    await pipeline.exec();
  });

  const calleesEnd = await serve(url, CALLEE, stopping.signal, async came => {
    const tasks = came.map(([id, command]) => given(id, command));
    const records = await lookUp(tasks);
    const pipeline = worker.pipeline();
    tasks.forEach((task, i) => {
      const {header} = task.command;
      const context = askersContext(header);
      if (context === undefined) throw new Error('nobody waits for it');
      noteStatus(pipeline, header, task.executionId, records[i], 'RUNNING');
      const reply = encodeReply({
        ...{
          executionId: task.executionId,
          sessionId: header.sessionId,
          traceId: header.traceId,
          agentType: CALLEE,
        },
        ...{askMessageId: header.messageId, context, caller: undefined},
        result: {status: 'COMPLETED', content: 'x', metadata: {}, replyData: null, extraPayload: {}},
      });
      noteStatus(pipeline, header, task.executionId, records[i], 'COMPLETED');
      pipeline.xadd(streamOf(CALLER), '*', 'data', reply);
    });
    const ids = tasks.map(({id}) => id);
    await pipeline
      .xack(streamOf(CALLEE), GROUP, ...ids)
      .xdel(streamOf(CALLEE), ...ids)
      .exec();
  });

  const times: number[] = [];
  for (let i = 0; i < count; i++) {
    const sessionId = `s-${i}`;
    const startedAt = performance.now();
    await sendAsk(sender, streamOf(CALLER), newAsk(sessionId, {targetAgentType: CALLER}), step);
    await lastAnswer(reader, eventsOf(sessionId));
    times.push(performance.now() - startedAt);
  }
  stopping.abort();
  await Promise.all([callersEnd(), calleesEnd()]);
  for (const redis of [sender, worker, reader]) redis.disconnect();
  return times;
}
