/** The answer to whoever waits for an execution that ends without its agent's word. */
import {replyContextOf, type ExecutionRecord} from '../protocol/execution.js';
import {encodeReply} from '../protocol/reply.js';
import type {TaskResult} from '../protocol/results.js';
import {findByMessage} from './executions.js';
import type {OutboxItem} from './outbox.js';
import type {Store} from './store.js';

/** @returns undefined if nobody waits, as far as the record tells. */
export async function replyFor(
  store: Store,
  record: ExecutionRecord,
  result: TaskResult,
): Promise<OutboxItem | undefined> {
  const context = replyContextOf(record);
  if (context === undefined) return undefined;
  const document = encodeReply({
    ...{executionId: record.executionId, sessionId: record.sessionId, traceId: record.traceId},
    ...{agentType: record.targetAgentType, askMessageId: record.messageId, context, result},
    caller: await findByMessage(store, record.sessionId, context.parent_message_id),
  });
  return {stream: store.keys.ctrlStream(context.source_agent_type), document};
}
