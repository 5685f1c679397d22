/** What a whole orchestrator has beside the roles of the run layer: for `by serve`, and for a task that brings its own. */
import {createLogger} from '../../json-log.js';
import {loggerTo, type Logger} from '../../log.js';
import {schedulerRole} from '../../orchestration/cron-scheduler.js';
import type {OrchestratorRole} from '../../orchestration/serve.js';
import {statusSweeperRole, type StatusSweeperOptions} from '../../orchestration/status-role.js';
import {taskPort} from '../../orchestration/task-port.js';
import type {Store} from '../../store/store.js';
import {paint, type Printer} from '../printer.js';

/** @param options what the sweeper of statuses does about foreign workers beside; nothing unless it is said. */
export const moreRoles = (
  store: Store,
  workspace: string,
  options: StatusSweeperOptions,
): readonly OrchestratorRole[] => [
  schedulerRole({store, workspace, port: taskPort(store), log: options.log}),
  statusSweeperRole(store, options),
];

/** For a person what goes wrong, for a program JSON lines: both on standard error. */
export function serveLog(printer: Printer): Logger {
  if (printer.mode !== 'text') return createLogger();
  return loggerTo(
    (_level, message, fields) => printer.err(paint.yellow(`${message} ${JSON.stringify(fields)}`)),
    'warn',
  );
}
