/** `by cancel`: show what it touches, ask when that is a whole session, do it. */
import {cancel, cancelTargets, type CancelRequest, type CancelResult} from '../availability/cancel.js';
import {systemClock} from '../clock.js';
import {ByError} from '../errors.js';
import {isTerminal} from '../protocol/states.js';
import {requireOwn} from '../store/ownership.js';
import type {Store} from '../store/store.js';
import {paint, type Printer} from './printer.js';

export interface RunCancel extends CancelRequest {
  readonly dryRun: boolean;
  /** Whose the session must be; undefined for an operator. */
  readonly userCode?: string | undefined;
  confirm(question: string): Promise<boolean>;
}

/** @throws {ByError} NOT_FOUND, CONFLICT when all of it has ended. */
export async function runCancel(
  store: Store,
  printer: Printer,
  request: RunCancel,
): Promise<
  CancelResult | {dryRun: true; nodes: readonly {executionId: string; agentType: string; status: string}[]}
> {
  await requireOwn(store, request.sessionId, request.userCode ?? '');
  const targets = await cancelTargets(store, request);
  if (targets.length === 0) {
    const what =
      request.messageId === undefined ? `session "${request.sessionId}"` : `message "${request.messageId}"`;
    throw new ByError('NOT_FOUND', `There is no ${what}.`, {
      hint: 'Check the id; sessions are kept for seven days.',
    });
  }
  printer.table(targets, [
    {header: 'EXECUTION', value: target => target.executionId},
    {header: 'MESSAGE', value: target => target.messageId},
    {header: 'AGENT TYPE', value: target => target.targetAgentType},
    {header: 'STATUS', value: target => target.status},
  ]);
  if (request.dryRun) {
    printer.note('Nothing was cancelled. Run without --dry-run to do it.');
    const nodes = targets.map(target => ({
      executionId: target.executionId,
      agentType: target.targetAgentType,
      status: target.status,
    }));
    return {dryRun: true, nodes};
  }
  const open = targets.filter(target => !isTerminal(target.status)).length;
  const wholeSession = request.messageId === undefined;
  if (wholeSession && open > 0 && !(await request.confirm(`Cancel ${open} running or waiting executions?`))) {
    throw new ByError('CONFLICT', 'Nothing was cancelled.', {hint: 'Answer yes, or give --yes.'});
  }
  const result = await cancel(store, systemClock, {...request, requestedBy: 'by-cli'});
  if (result.status === 'ALREADY_FINISHED') {
    throw new ByError('CONFLICT', 'All of it had already ended.', {
      hint: 'There is nothing to cancel.',
      details: {...result},
    });
  }
  printer.out(
    paint.green(printer.symbol('ok')),
    ` cancelled ${result.cancelledCount}, already ended ${result.alreadyFinishedCount}`,
  );
  const asked = result.nodes.filter(node => node.result === 'cancelling' && node.workerId !== '');
  if (request.force === true && asked.length > 0) {
    const workers = [...new Set(asked.map(node => node.workerId))].join(', ');
    printer.note(
      `${asked.length} run on workers of another SDK (${workers}), which can only be asked to stop.`,
    );
  }
  return result;
}
