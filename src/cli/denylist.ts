/** `by agent deny|allow|denylist`. */
import {onlineMembers, workerFacts} from '../store/presence.js';
import {
  agentTypesWithDenied,
  allowAgentType,
  deniedWorkers,
  denyAgentType,
  sdkOf,
} from '../store/worker-admin.js';
import type {Store} from '../store/store.js';
import {systemClock} from '../clock.js';
import {checkedId} from './ids.js';
import {requireKnownWorker} from './known-worker.js';
import {paint, type Printer} from './printer.js';
import {actor} from './replay-dead-letters.js';
import {isoTime} from './time.js';

export interface DenyRequest {
  readonly agentType: string;
  readonly workerIds: readonly string[];
  readonly dryRun: boolean;
}

/** @throws {ByError} INVALID_INPUT, NOT_FOUND for a worker nothing is known of: then nobody is barred. */
export async function denyWorkers(store: Store, printer: Printer, request: DenyRequest) {
  const {agentType, ids} = checked(request);
  for (const workerId of ids) await requireKnownWorker(store, workerId);
  const facts = await workerFacts(store, ids);
  const workers: {workerId: string; changed: boolean}[] = [];
  for (const {workerId, agentTypes} of facts) {
    const changed = !request.dryRun && (await denyAgentType(store, agentType, workerId));
    workers.push({workerId, changed});
    say(printer, request, changed, `${workerId} is barred from "${agentType}"`);
    if (agentTypes.length > 0 && !agentTypes.includes(agentType))
      printer.warn(`"${workerId}" does not serve "${agentType}".`);
    if ((await sdkOf(store, workerId)) === 'other')
      printer.warn(
        `"${workerId}" is a worker of another SDK: Java's stay listed as online for "${agentType}".`,
      );
  }
  if (!request.dryRun && !(await onlineMembers(store, agentType)).online)
    printer.warn(`No worker of "${agentType}" is online now.`);
  return {agentType, workers, denied: await deniedWorkers(store, agentType), ...signed(request)};
}

/** @throws {ByError} INVALID_INPUT. */
export async function allowWorkers(store: Store, printer: Printer, request: DenyRequest) {
  const {agentType, ids} = checked(request);
  const workers: {workerId: string; changed: boolean}[] = [];
  for (const workerId of ids) {
    const changed = !request.dryRun && (await allowAgentType(store, agentType, workerId));
    workers.push({workerId, changed});
    if (!changed && !request.dryRun) printer.note(`"${workerId}" was not barred from "${agentType}".`);
    else say(printer, request, changed, `${workerId} may serve "${agentType}"`);
  }
  return {agentType, workers, denied: await deniedWorkers(store, agentType), ...signed(request)};
}

/** @param type undefined for all; that walks the keys of the server. */
export async function showDenylist(store: Store, printer: Printer, output: string, type: string | undefined) {
  const types = type === undefined ? await agentTypesWithDenied(store) : [checkedId(type, 'agent type')];
  const denylist = await Promise.all(
    types.map(async agentType => ({agentType, workerIds: await deniedWorkers(store, agentType)})),
  );
  const rows = denylist.filter(({workerIds}) => workerIds.length > 0);
  if (output === 'name') for (const id of new Set(rows.flatMap(row => row.workerIds))) printer.out(id);
  else {
    printer.table(rows, [
      {header: 'AGENT TYPE', value: row => row.agentType},
      {header: 'BARRED WORKERS', value: row => row.workerIds.join(', '), shrink: true},
    ]);
    if (rows.length === 0) printer.note(`Nobody is barred${type === undefined ? '' : ` from "${type}"`}.`);
  }
  return {denylist: rows};
}

function checked({agentType, workerIds}: DenyRequest) {
  return {
    agentType: checkedId(agentType, 'agent type'),
    ids: [...new Set(workerIds.map(id => checkedId(id, 'worker id')))],
  };
}

const signed = ({dryRun}: DenyRequest) => ({dryRun, actor: actor(), at: isoTime(systemClock())});

function say(printer: Printer, {dryRun}: DenyRequest, changed: boolean, what: string): void {
  if (dryRun) printer.note(`Nothing was changed. Without --dry-run: ${what}.`);
  else printer.out(paint.green(printer.symbol('ok')), ` ${what}${changed ? '' : ' (it was before)'}`);
}
