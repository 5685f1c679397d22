/** The line people see for a wakeup that is over. */
import type {WakeupDecision, WakeupRequest} from '../protocol/wakeup.js';
import {formatDuration} from './duration.js';
import {paint, type Printer, type Text} from './printer.js';

/** `translator    exec-5d10  wake-and-wait  30s`: what was asked for. */
export function describeRequest({targetAgentType, executionId, policy, timeoutMs}: WakeupRequest): string {
  const how = policy.toLowerCase().replaceAll('_', '-');
  // With WAKE_AND_QUEUE nobody waits.
  const time = policy === 'WAKE_AND_QUEUE' ? '' : formatDuration(timeoutMs);
  return `${targetAgentType.padEnd(12)}  ${executionId}  ${how.padEnd(14)} ${time.padEnd(4)}`;
}

export function wakeupLine(
  printer: Printer,
  request: WakeupRequest,
  {status, reason, selectedAgentType}: WakeupDecision,
  elapsedMs: number,
  deadLetterId: string | undefined,
): Text[] {
  const arrow = printer.symbol('arrow');
  const name = status.padEnd(8);
  const isGood = status === 'READY';
  const words = reason === '' ? '' : isGood ? `, ${reason}` : ` "${reason}"`;
  return [
    `wakeup  ${describeRequest(request)} ${arrow} `,
    isGood ? paint.green(name) : paint.yellow(name),
    isGood ? ` (${formatDuration(elapsedMs)}${words})` : words,
    selectedAgentType === '' ? '' : ` ${selectedAgentType}`,
    deadLetterId === undefined ? '' : ` ${arrow} dead letter ${deadLetterId}`,
  ];
}
