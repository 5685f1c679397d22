/** One message of several: where more is collected for a turn than is kept, and somebody can say what it comes to. */
import {within} from '../clock.js';
import {ByError} from '../errors.js';
import {MAX_MESSAGE} from '../protocol/orchestration/task.js';
import type {OrchestratorDeps} from './deps.js';
import type {InputStep, Summary} from './inputs.js';

const SUMMARY_MS = 60_000;

/**
 * @param inputId of the summary.
 * @throws {ByError} TIMEOUT after a minute, INVALID_INPUT for what can not be a message; what the summariser throws.
 */
export async function summaryOf(
  {summarise}: OrchestratorDeps,
  {inputs, work}: Extract<InputStep, {kind: 'summarise'}>,
  inputId: string,
  signal?: AbortSignal,
): Promise<Summary> {
  if (summarise === undefined) throw noSummariser();
  const {runId, agentType} = work.run;
  const late = new AbortController();
  let message: unknown;
  const summing = summarise(
    inputs.map(one => one.message),
    {runId, agentType, signal: AbortSignal.any([late.signal, ...(signal === undefined ? [] : [signal])])},
  ).then(text => (message = text));
  if (!(await within(SUMMARY_MS, summing))) {
    late.abort();
    throw new ByError('TIMEOUT', 'The summariser took longer than a minute; the message was not accepted.', {
      hint: 'Say it again, or with the overflow drop_old.',
    });
  }
  if (typeof message !== 'string' || message.trim() === '' || message.length > MAX_MESSAGE)
    throw new ByError('INVALID_INPUT', 'The summariser gave no text, or too much.', {
      hint: `Let \`summarise\` return 1 to ${MAX_MESSAGE.toLocaleString('en')} characters.`,
    });
  return {inputId, message, of: inputs.map(one => one.inputId)};
}

export const noSummariser = (): ByError =>
  new ByError('INVALID_INPUT', 'Nothing here can summarise what is collected.', {
    hint: 'Use the overflow drop_old or drop_new, or a program that gives AgentService a `summarise` function.',
  });
