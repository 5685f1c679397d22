/** Starting a durable execution again from an entry of its journal, as a new execution. */
import {route, type Router, type SendResult} from '../availability/send.js';
import {ByError} from '../errors.js';
import {newExecutionId, newHexUuid, newMessageId, spanIdHex} from '../ids.js';
import {readCommandEntry, type AskCommand} from '../protocol/commands.js';
import type {ExecutionRecord} from '../protocol/execution.js';
import {encodeAnswer, encodeEntry, type Journal} from '../protocol/journal.js';
import type {RoutePolicy} from '../protocol/routing.js';
import {readJournal, seedJournal} from '../store/journal.js';

export interface ReplayExecution {
  readonly record: ExecutionRecord;
  /** The first entry that is asked for anew; what came before it is given to the code as it was. */
  readonly from: number;
  readonly policy: RoutePolicy;
}

/**
 * The command is sent again with new ids; nobody waits for its answer but whoever follows the session.
 * @throws {ByError} CONFLICT for an execution without a journal, INVALID_INPUT for an entry it does not have, and what a
 *   send throws.
 */
export async function replayExecution(
  router: Router,
  {record, from, policy}: ReplayExecution,
): Promise<SendResult & {readonly kept: number}> {
  const {sessionId, executionId} = record;
  const journal = await readJournal(router.store, {sessionId, executionId});
  if (journal.ask === '') {
    throw new ByError('CONFLICT', `Execution "${executionId}" has no journal to start again from.`, {
      hint: 'Only durable agents (defineAgent) that called, asked, slept or made a step have one. Send the message again.',
    });
  }
  const last = Math.max(...journal.entries.keys()) + 1;
  if (!Number.isInteger(from) || from < 0 || from > last) {
    throw new ByError('INVALID_INPUT', `The journal has no entry ${from}.`, {
      hint: `Give a number from 0 (from the start) to ${last} (after its last entry).`,
      next: [`by exec show ${executionId} --session ${sessionId} --journal`],
    });
  }
  const command = againOf(journal.ask, executionId, from, router.now());
  const newId = String(command.header.metadata['by_execution_id']);
  const fields = keptFields(journal, from);
  // Before it is accepted, because a worker may begin at once.
  await seedJournal(router.store, {sessionId, executionId: newId}, fields);
  const sent = await route(router, {
    ...{request: {}, policy, command, executionId: newId, freshMessage: true, counts: false},
  });
  return {...sent, kept: Number(fields['n'])};
}

function againOf(ask: string, executionId: string, from: number, now: number): AskCommand {
  const {header, content, ...command} = readCommandEntry(ask) as AskCommand;
  const messageId = newMessageId();
  const span = spanIdHex(`${messageId}:client.dispatch`);
  const metadata = {
    ...header.metadata,
    ...{replay_of: executionId, by_replay_from: from},
    ...{by_execution_id: newExecutionId(), by_sent_at: now},
  };
  return {
    action: 'ASK_AGENT',
    header: {
      ...{...header, messageId, metadata, traceId: newHexUuid()},
      // Whoever called it has had an answer, or waits for that of the first execution.
      ...{sourceAgentType: '', parentMessageId: '', taskGroupId: ''},
      ...{traceParentSpanId: span, langfuseParentObservationId: span},
    },
    content,
    waitForReply: false,
    extraPayload: command.extraPayload,
  };
}

/**
 * Entries before `from` that have an outcome, in the order in which those came. Calls without one are made anew, and are
 * others; so what cancelled them is done anew too.
 */
function keptFields({entries, outcomes, ask}: Journal, from: number): Record<string, string> {
  const kept = [...outcomes].filter(
    ([index]) => index < from && entries.has(index) && entries.get(index)?.kind !== 'cancel',
  );
  kept.sort(([, a], [, b]) => a.order - b.order);
  const fields: Record<string, string> = {ask};
  let bytes = 0;
  kept.forEach(([index, outcome], i) => {
    const entry = entries.get(index);
    if (entry === undefined) return;
    const value = encodeAnswer(outcome.value);
    fields[`e:${index}`] = encodeEntry(entry);
    fields[`d:${index}`] = `{"order":${i + 1},"at":${outcome.at},"value":${value}}`;
    bytes += value.length;
  });
  return {...fields, n: String(kept.length), bytes: String(bytes)};
}
