/**
 * What the house logs with: a message and facts, at a level. Where it goes is for whoever makes the logger: JSON lines
 * (json-log.ts), lines for people (cli/worker-log.ts), another process (worker/isolated.ts).
 */
import {redact, redactFacts} from './redact.js';

export const LOG_LEVELS = ['debug', 'info', 'warn', 'error'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

export const isLogLevel = (text: string): text is LogLevel =>
  (LOG_LEVELS as readonly string[]).includes(text);

export type LogFields = Readonly<Record<string, string | number | boolean | null | undefined>>;

export interface Logger {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  /** A logger that adds these fields to every line. */
  child(fields: LogFields): Logger;
  /**
   * From now on lines below this level are not written, by this logger and those made from it; undefined for the level it
   * was made with. A logger without it always writes what it wants.
   */
  setLevel?(level: LogLevel | undefined): void;
}

/** Longest value in a line: guarantees.md §2, "logs". */
const MAX_VALUE = 8192;

/** Gets what is to be logged: secrets hidden, values cut, the fields of all loggers above joined. */
export type LogSink = (level: LogLevel, message: string, fields: LogFields) => void;

/** @param level lines below it are not written. Default `info`. */
export function loggerTo(sink: LogSink, level: LogLevel = 'info'): Logger {
  return loggerOf(sink, {own: level, now: level}, {});
}

/** @param threshold shared by all that are made from one. */
function loggerOf(sink: LogSink, threshold: {readonly own: LogLevel; now: LogLevel}, own: LogFields): Logger {
  const log = (level: LogLevel, message: string, fields?: LogFields) => {
    if (LOG_LEVELS.indexOf(level) < LOG_LEVELS.indexOf(threshold.now)) return;
    sink(level, clean(message), cleanFields({...own, ...fields}));
  };
  return {
    debug: (message, fields) => log('debug', message, fields),
    info: (message, fields) => log('info', message, fields),
    warn: (message, fields) => log('warn', message, fields),
    error: (message, fields) => log('error', message, fields),
    child: fields => loggerOf(sink, threshold, {...own, ...fields}),
    setLevel: level => void (threshold.now = level ?? threshold.own),
  };
}

/** Redacted before it is cut, so that no half of a secret is left; what is far behind the cut need not be looked at. */
const clean = (text: string) => redact(text.slice(0, 2 * MAX_VALUE)).slice(0, MAX_VALUE);

function cleanFields(fields: LogFields): LogFields {
  const cleaned: Record<string, LogFields[string]> = {};
  for (const [name, value] of Object.entries(fields)) {
    if (value === undefined) continue;
    const shown = redactFacts(typeof value === 'string' ? value.slice(0, 2 * MAX_VALUE) : value, name);
    cleaned[name] = typeof shown === 'string' ? shown.slice(0, MAX_VALUE) : (shown as LogFields[string]);
  }
  return cleaned;
}

/** Says nothing, and spends nothing on it. */
export const silentLogger: Logger = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  child: () => silentLogger,
};
