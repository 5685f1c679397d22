/**
 * Structured logs by pino: one JSON object a line, on standard error, so that standard output stays the command's. Time,
 * level and message are named as pino's viewers and collectors expect them. Apart from log.ts, because who only hands a
 * logger on need not load pino.
 */
import {pino} from 'pino';
import {loggerTo, type LogFields, type Logger, type LogLevel} from './log.js';

export interface LoggerOptions {
  /** Lines below it are not written. Default `info`. */
  readonly level?: LogLevel;
  /** Gets one line, without its end. Default: standard error. */
  readonly write?: (line: string) => void;
  /** Default: now. In milliseconds since 1970. */
  readonly now?: () => number;
}

/** What shows nothing, or drives a terminal, and JSON leaves as it is. */
const HIDDEN = /[\u007f-\u009f\p{Bidi_Control}\p{Zl}\p{Zp}]/gu;

/** Fields of ours, which no caller's may take the place of. */
const OURS = ['time', 'level', 'msg'] as const;

/**
 * A logger of JSON lines. pino escapes line ends and control characters, so a value can not forge a line; it writes in
 * this thread and at once, so that what was logged before a crash is there.
 */
export function createLogger(options: LoggerOptions = {}): Logger {
  const {now = Date.now, level = 'info'} = options;
  const write = options.write ?? (line => void process.stderr.write(`${line}\n`));
  const engine = pino(
    {
      // Which lines are wanted is decided before they come here: a child of pino's has a level of its own.
      level: 'debug',
      base: null,
      timestamp: () => `,"time":"${new Date(now()).toISOString()}"`,
      formatters: {level: label => ({level: label})},
    },
    {
      write: line =>
        write(
          line.trimEnd().replaceAll(HIDDEN, char => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`),
        ),
    },
  );
  return loggerTo((at, message, fields) => {
    engine[at](OURS.some(name => name in fields) ? renamed(fields) : fields, message);
  }, level);
}

const renamed = (fields: LogFields): LogFields =>
  Object.fromEntries(
    Object.entries(fields).map(([name, value]) => [
      OURS.some(ours => ours === name) ? `${name}_` : name,
      value,
    ]),
  );
