/** A callee's answer to a caller whose turn runs in the same worker: told, in place of being sent. */
import {readCommandEntry} from '../../protocol/commands.js';
import {answerOf, encodeAnswer} from '../../protocol/journal.js';
import type {CallerHere} from '../../store/executions.js';
import type {RunningTasks} from '../running.js';
import {answerIn, questionOf} from './turn.js';

/**
 * @param callerId execution of the caller, as far as it is known.
 * @param document the reply as it would be sent: it is read as whoever is sent it reads it.
 * @returns undefined if no turn of the caller runs here, or the reply is nothing a journal could keep.
 */
export function callerHere(
  running: RunningTasks,
  callerId: unknown,
  document: string,
): CallerHere | undefined {
  const task = typeof callerId === 'string' ? running.listening(callerId) : undefined;
  const reply = task && readReply(document);
  const question = reply && questionOf(reply.header);
  if (task === undefined || reply === undefined || question === undefined) return undefined;
  const answer = answerIn(reply);
  const {executionId, fence} = task.turn;
  return {
    ...{executionId, fence, question, answer: encodeAnswer(answer)},
    kept: ({index, order, at}) =>
      running.hear({executionId, fence}, {index, outcome: {order, at, value: answerOf(answer)}}),
  };
}

/** What can not be read is told to the caller's reader of the stream, which knows what to do with it. */
function readReply(document: string) {
  try {
    const command = readCommandEntry(document);
    return command.action === 'RESUME' ? command : undefined;
  } catch {
    return undefined;
  }
}
