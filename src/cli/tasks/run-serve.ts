/** `by serve`: an orchestrator in the foreground. */
import {ByError} from '../../errors.js';
import {createLogger} from '../../json-log.js';
import {loggerTo, type Logger} from '../../log.js';
import {AgentService, OWN_ROLES} from '../../orchestration/service.js';
import {schedulerRole} from '../../orchestration/cron-scheduler.js';
import {statusSweeperRole} from '../../orchestration/status-role.js';
import {taskPort} from '../../orchestration/task-port.js';
import type {OrchestratorRole, RoleName} from '../../orchestration/serve.js';
import {refuseEviction} from '../../store/durability.js';
import {checkServer, type Store} from '../../store/store.js';
import {paint, type Printer} from '../printer.js';

export interface ServeRequest {
  readonly store: Store;
  readonly printer: Printer;
  readonly workspace: string;
  /** Empty: all. */
  readonly roles: readonly string[];
  readonly signal: AbortSignal;
  readonly force: AbortSignal;
  /** Milliseconds for what is under way when it is told to end. */
  readonly drainMs: number;
}

/** @throws {ByError} what connecting throws; REDIS_REFUSED for a server that evicts keys. */
export async function runServe(request: ServeRequest) {
  const {store, printer, workspace, roles, signal, force, drainMs} = request;
  const facts = await checkServer(store);
  refuseEviction(facts, store.address);
  const log = serveLog(printer);
  const more: readonly OrchestratorRole[] = [
    schedulerRole({store, workspace, port: taskPort(store), log}),
    statusSweeperRole(store, {log}),
  ];
  const known: readonly string[] = [...OWN_ROLES, ...more.map(({name}) => name)];
  const wanted = roles.length === 0 ? known : roles;
  const missing = wanted.find(role => !known.includes(role));
  if (missing !== undefined)
    throw new ByError('USAGE', `There is no role "${missing.slice(0, 40)}" here.`, {
      hint: `Roles: ${known.join(', ')}.`,
    });
  const service = new AgentService({store, log});
  const running = service.start({
    ...{signal, workspace, roles: wanted as readonly RoleName[]},
    more: more.filter(({name}) => wanted.includes(name)),
  });
  printer.note(
    paint.green(printer.symbol('dot')),
    ` orchestrator of workspace ${workspace} on ${store.address} (${facts.embedded ? 'embedded' : facts.version}): ${wanted.join(', ')}`,
  );
  printer.event({type: 'started', workspace, roles: wanted});
  await Promise.race([running, drained(signal, force, drainMs)]);
  return {workspace, roles: wanted};
}

/** Resolves so long after the signal, or with the second one: what is under way is repaired by others. */
async function drained(signal: AbortSignal, force: AbortSignal, drainMs: number): Promise<void> {
  await new Promise<void>(resolve => {
    force.addEventListener('abort', () => resolve(), {once: true});
    signal.addEventListener('abort', () => setTimeout(resolve, drainMs).unref(), {once: true});
  });
}

/** For a person what goes wrong, for a program JSON lines: both on standard error. */
function serveLog(printer: Printer): Logger {
  if (printer.mode !== 'text') return createLogger();
  return loggerTo(
    (_level, message, fields) => printer.err(paint.yellow(`${message} ${JSON.stringify(fields)}`)),
    'warn',
  );
}
