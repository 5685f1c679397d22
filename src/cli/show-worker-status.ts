/** `by agent show WORKER`: the status of one worker, what is known of its quota, and what happened to it. */
import {agentWorker} from '../registry/agent-workers.js';
import {AgentStatusService} from '../registry/agent-status-service.js';
import {listWorkers} from '../registry/listing.js';
import type {StatusNote} from '../store/agent-status.js';
import {serverTimeMs, type Store} from '../store/store.js';
import {noteText, recoveryText, slotsText, statusText} from './agent-workers.js';
import {formatDuration} from './duration.js';
import {showFacts} from './facts.js';
import {paint, type Printer} from './printer.js';
import {isoTime} from './time.js';

/** Notes are kept of all workers together: so many of the newest are looked through. */
const LOOKED_AT = 2000;

/** @returns undefined, and nothing is shown, if nothing is known of such a worker. */
export async function showWorkerStatus(store: Store, printer: Printer, workerId: string, history: number) {
  const service = new AgentStatusService(store);
  const [record, known, ledger, time] = await Promise.all([
    service.get(workerId),
    listWorkers(store),
    service.ledger(workerId),
    serverTimeMs(store),
  ]);
  const now = Math.floor(time);
  const worker = agentWorker(
    workerId,
    record,
    known.find(one => one.workerId === workerId),
    now,
  );
  if (worker === undefined) return undefined;
  const notes = history === 0 ? [] : await newestOf(service, workerId, history);
  const forText =
    record === undefined
      ? ''
      : `  for ${formatDuration(Math.floor((now - record.statusSinceAt) / 1000) * 1000)}`;
  showFacts(printer, [
    ['worker', workerId],
    ['agent types', worker.agentTypes.join(', ') || '-'],
    ['status', [statusText(worker, now), worker.status === record?.status ? forText : '']],
    ['slots', slotsText(worker)],
    ['note', noteText(printer, worker, now)],
    ledger === undefined || ledger.recoveryAt <= now
      ? undefined
      : ['quota', `${ledger.reason}, recovers ${recoveryText(ledger.recoveryAt, now)} (${ledger.source})`],
  ]);
  for (const note of notes) printer.out(paint.dim(isoTime(note.at)), '  ', noteLine(printer, note));
  return {worker, exhaustion: ledger ?? null, history: notes};
}

async function newestOf(service: AgentStatusService, workerId: string, count: number): Promise<StatusNote[]> {
  const notes = await service.notes(LOOKED_AT);
  return notes.filter(note => note.workerId === workerId).slice(0, count);
}

function noteLine(printer: Printer, {kind, fields}: StatusNote): string {
  const {from = '', to = '', reason = '', by = '', note = '', scope = '', what = ''} = fields;
  const why = [by, note].filter(text => text !== '').join(': ');
  const said = why === '' ? '' : `  (${why})`;
  const of = scope === '*' || scope === '' ? '' : ` ${scope}`;
  switch (kind) {
    case 'change':
      return `${from || 'new'} ${printer.symbol('arrow')} ${to}`;
    case 'exhausted':
      return `exhausted${of}: ${reason}${said}`;
    case 'recovered':
      return `recovered${of}${said}`;
    case 'clamped':
      return `the end that was said was not believed as it was`;
    default:
      return `${kind}: ${what}`;
  }
}
