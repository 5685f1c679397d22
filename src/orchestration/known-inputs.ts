/**
 * What became of an input, kept under its idempotency key: whoever repeats it is told the same. An answer is written down before
 * it is given, so that a repeat after a crash gives that same answer, and nothing else.
 */
import type {InputOutcome} from '../protocol/orchestration/input.js';
import {readText} from '../store/orchestration-lists.js';
import type {Workspace} from '../store/orchestration.js';
import type {InputStep, NewInput} from './inputs.js';
import {digest, requireSame} from './submit.js';

/** Who is answered. */
export interface Answering {
  readonly attemptId: string;
  readonly executionId: string;
}

export interface KnownInput {
  readonly inputId: string;
  readonly runId: string;
  readonly outcome: InputOutcome;
  readonly downgraded?: 'steer_unsupported';
  /** It is to be given, or was, and has not been noted at its run. */
  readonly answers?: Answering;
  /** As it stands in Redis. */
  readonly text: string;
}

export const inputKey = ({keys, name}: Workspace, runId: string, key: string): string =>
  keys.orchIdempotency(name, 'input', digest(runId, key));

const hashOf = ({mode, message}: NewInput): string => digest(mode, message);

interface Kept {
  readonly id: string;
  readonly request_hash: string;
  readonly run_id: string;
  readonly outcome: InputOutcome;
  readonly downgraded?: 'steer_unsupported' | undefined;
  readonly answers?: {readonly attempt_id: string; readonly execution_id: string};
}

/** @param step what is written about it: the answer it is going to be, or what it has become. */
export function recordOf(
  input: NewInput,
  runId: string,
  step: Extract<InputStep, {kind: 'answer' | 'write'}>,
): string {
  const kept: Kept = {
    ...{id: input.inputId, request_hash: hashOf(input), run_id: runId},
    ...(step.kind === 'write'
      ? {outcome: step.outcome, downgraded: step.downgraded}
      : {
          outcome: 'direct',
          answers: {
            attempt_id: step.work.attempt.attemptId,
            execution_id: step.work.attempt.executionId,
          },
        }),
  };
  return JSON.stringify(kept);
}

/** @throws {ByError} IDEMPOTENCY_CONFLICT if the key was used for another input. */
export async function knownInput(
  workspace: Workspace,
  key: string,
  input: NewInput,
): Promise<KnownInput | undefined> {
  const text = await readText(workspace, key);
  if (text === undefined) return undefined;
  const kept = JSON.parse(text) as Kept;
  requireSame(kept, hashOf(input), {is: 'input', toSend: 'message'});
  const {id, run_id: runId, outcome, downgraded, answers} = kept;
  return {
    ...{inputId: id, runId, outcome, text},
    ...(downgraded === undefined ? {} : {downgraded}),
    ...(answers === undefined
      ? {}
      : {answers: {attemptId: answers.attempt_id, executionId: answers.execution_id}}),
  };
}
