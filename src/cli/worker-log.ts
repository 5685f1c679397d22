/** What `by worker run` logs, on standard error: a line a thing that happens for people, JSON lines for programs. */
import {createLogger} from '../json-log.js';
import {loggerTo, type LogFields, type Logger, type LogLevel} from '../log.js';
import {paint, type Printer} from './printer.js';

export const LOG_FORMATS = ['json', 'pretty'] as const;
export type LogFormat = (typeof LOG_FORMATS)[number];

/** @param level default `info`; `debug` where the printer is to say more. */
export function workerLog(printer: Printer, format: LogFormat, level?: LogLevel): Logger {
  const least = level ?? (printer.isVerbose ? 'debug' : 'info');
  if (format === 'json') return createLogger({level: least});
  return loggerTo((at, message, fields) => {
    const line = prettyLine(message, fields);
    const time = new Date().toTimeString().slice(0, 8);
    if (at === 'warn' || at === 'error') printer.err(paint.dim(time), ' ', paint.yellow(line));
    else printer.note(paint.dim(time), ' ', line);
  }, least);
}

/** Without what a person has before their eyes: the worker, the execution beside its message, the first attempt. */
function prettyLine(message: string, fields: LogFields): string {
  const {
    worker_id: _worker,
    session_id: session,
    message_id: id,
    execution_id: _execution,
    attempt,
    ...rest
  } = fields;
  const shown = {...(attempt === undefined || attempt === 1 ? {} : {attempt}), ...rest};
  const facts = Object.entries(shown).map(([name, value]) => `${name}=${String(value)}`);
  return [session ?? '', id ?? '', message, ...facts].filter(part => part !== '').join('  ');
}
