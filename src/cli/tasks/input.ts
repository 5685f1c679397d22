/** `by run input`. */
import {ByError} from '../../errors.js';
import {AgentAPI} from '../../orchestration/api.js';
import {resolveId} from '../../orchestration/find.js';
import type {RunInputResult} from '../../orchestration/accept-input.js';
import {AgentService} from '../../orchestration/service.js';
import type {Overflow} from '../../protocol/orchestration/input.js';
import {readQueueMode} from '../../protocol/orchestration/command.js';
import {warnWithoutOrchestrator, type At} from './tasks.js';

export interface RunInputRequest {
  readonly mode: string;
  readonly message: string;
  readonly overflow: Overflow | undefined;
  readonly discardBuffered: boolean;
  readonly forceAfterMs: number | undefined;
  readonly idempotencyKey: string | undefined;
  readonly signal: AbortSignal;
}

/** @throws {ByError} QUEUE_MODE_INVALID, USAGE, and as the API. */
export async function inputForPeople(
  {store, printer, workspace}: At,
  text: string,
  request: RunInputRequest,
) {
  const mode = readQueueMode(request.mode);
  const {message, overflow, discardBuffered, forceAfterMs, idempotencyKey, signal} = request;
  if (mode !== 'collect' && overflow !== undefined)
    throw new ByError('USAGE', '--overflow belongs to --mode collect.', {
      hint: 'Add --mode collect, or leave it out.',
    });
  if (mode !== 'interrupt' && (discardBuffered || forceAfterMs !== undefined))
    throw new ByError('USAGE', '--discard-buffered and --force-after belong to --mode interrupt.', {
      hint: 'Add --mode interrupt, or leave them out.',
    });
  const service = new AgentService({store});
  const runId = await resolveId(service.workspace(workspace), 'run', text);
  if (mode === 'interrupt') await warnWithoutOrchestrator(printer, service.workspace(workspace));
  const result = await new AgentAPI({runtime: service}).enqueueRunInput(workspace, runId, {
    ...{mode, message, discardBuffered, signal},
    ...(overflow === undefined ? {} : {overflow}),
    ...(forceAfterMs === undefined ? {} : {forceAfterMs}),
    ...(idempotencyKey === undefined ? {} : {idempotencyKey}),
  });
  printer.out(inputLine(result));
  const {task, ...rest} = result;
  return {...rest, taskId: task.taskId};
}

export function inputLine({
  outcome,
  downgraded,
  delivery,
  runId,
  task,
  idempotentHit,
}: RunInputResult): string {
  const again = idempotentHit ? ' (accepted before)' : '';
  switch (outcome) {
    case 'direct':
      return `direct (the run had asked, and goes on)${again}`;
    case 'restarted':
      return `restarted (${task.taskId} is taken up again as ${runId})${again}`;
    case 'interrupted':
      return `interrupted (what ran was stopped, and ${runId} goes on with this)${again}`;
    case 'queued':
      if (delivery === 'steer')
        return `queued (steer: the running agent takes it at its next look, or it is the next turn)${again}`;
      if (downgraded !== undefined)
        return `queued (${downgraded}: no worker takes it into a running turn; delivered as the next turn)${again}`;
      return `queued (delivered as the next turn of ${runId})${again}`;
  }
}
