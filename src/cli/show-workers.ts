/** Workers and agent types, as tables. */
import type {AgentTypeSummary, WorkerSummary} from '../registry/listing.js';
import {formatDuration} from './duration.js';
import {paint, type Printer, type Text} from './printer.js';
import {relativeTime} from './time.js';

export function showWorkers(printer: Printer, workers: readonly WorkerSummary[], output: string): void {
  if (output === 'name') {
    for (const worker of workers) printer.out(worker.workerId);
    return;
  }
  const now = Date.now();
  printer.table(workers, [
    {header: 'WORKER', value: worker => worker.workerId},
    {header: 'STATE', value: worker => stateText(worker.state)},
    {header: 'AGENT TYPES', value: worker => worker.agentTypes.join(', '), shrink: true},
    {
      header: 'LEASE',
      value: worker => (worker.leaseMs > 0 ? formatDuration(Math.round(worker.leaseMs / 1000) * 1000) : '-'),
    },
    {header: 'HEARTBEAT', value: worker => (worker.lastSeen > 0 ? relativeTime(worker.lastSeen, now) : '-')},
    {header: 'HOST', value: worker => worker.ipAddress || '-'},
    {header: 'REASON', value: worker => worker.reason, shrink: true},
  ]);
  // For programs the counts are in the document.
  if (printer.mode !== 'text') return;
  if (workers.length === 0) printer.note('No worker is known here. Start one: by worker run FILE');
  else printer.note(paint.dim(counts(workers)));
}

export function showAgentTypes(printer: Printer, types: readonly AgentTypeSummary[], output: string): void {
  if (output === 'name') {
    for (const type of types) printer.out(type.agentType);
    return;
  }
  printer.table(types, [
    {header: 'AGENT TYPE', value: type => type.agentType},
    {header: 'ONLINE', value: type => String(type.online), align: 'right'},
    {header: 'SUSPENDED', value: type => String(type.suspended), align: 'right'},
    {header: 'WORKERS', value: type => type.workerIds.join(', ') || '-', shrink: true},
  ]);
  if (types.length === 0) printer.note('No agent type is known here. Start a worker: by worker run FILE');
}

function stateText(state: WorkerSummary['state']): Text {
  switch (state) {
    case 'online':
      return paint.green(state);
    case 'suspended':
    case 'draining':
      return paint.yellow(state);
    case 'evicted':
      return paint.red(state);
    case 'stale':
      return paint.dim(state);
  }
}

function counts(workers: readonly WorkerSummary[]): string {
  const states = new Map<string, number>();
  for (const worker of workers) states.set(worker.state, (states.get(worker.state) ?? 0) + 1);
  const parts = [...states].map(([state, count]) => `${count} ${state}`);
  return `${workers.length} ${workers.length === 1 ? 'worker' : 'workers'}: ${parts.join(', ')}`;
}
