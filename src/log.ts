/** Structured logs: one JSON object a line, on stderr, so that standard output stays the command's. */

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

export interface LoggerOptions {
  /** Lines below it are not written. Default `info`. */
  readonly level?: LogLevel;
  /** Gets one line, without its end. Default: standard error. */
  readonly write?: (line: string, level: LogLevel, message: string, fields: LogFields) => void;
  readonly now?: () => number;
  readonly fields?: LogFields;
}

/** What shows nothing, or drives a terminal, and JSON leaves as it is. */
const HIDDEN = /[\u007f-\u009f\p{Bidi_Control}\p{Zl}\p{Zp}]/gu;

/** JSON escapes line ends and control characters, so a value can not forge a line. */
export function createLogger(options: LoggerOptions = {}): Logger {
  return loggerOf(options, {level: options.level ?? 'info'});
}

/** @param threshold shared by all that are made from one. */
function loggerOf(options: LoggerOptions, threshold: {level: LogLevel}): Logger {
  const {now = Date.now, fields: own = {}} = options;
  const write = options.write ?? (line => void process.stderr.write(`${line}\n`));
  const log = (at: LogLevel, message: string, fields: LogFields = {}) => {
    if (LOG_LEVELS.indexOf(at) < LOG_LEVELS.indexOf(threshold.level)) return;
    const all: LogFields = {...own, ...fields};
    const cut = Object.fromEntries(
      Object.entries(all).map(([name, value]) => [
        name,
        typeof value === 'string' ? value.slice(0, MAX_VALUE) : value,
      ]),
    );
    const line = JSON.stringify({
      time: new Date(now()).toISOString(),
      level: at,
      msg: message.slice(0, MAX_VALUE),
      ...cut,
    }).replaceAll(HIDDEN, char => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`);
    write(line, at, message, cut);
  };
  return {
    debug: (message, fields) => log('debug', message, fields),
    info: (message, fields) => log('info', message, fields),
    warn: (message, fields) => log('warn', message, fields),
    error: (message, fields) => log('error', message, fields),
    child: fields => loggerOf({...options, fields: {...own, ...fields}}, threshold),
    setLevel: level => void (threshold.level = level ?? options.level ?? 'info'),
  };
}

/** Says nothing, and spends nothing on it. */
export const silentLogger: Logger = {
  debug: () => undefined,
  info: () => undefined,
  warn: () => undefined,
  error: () => undefined,
  child: () => silentLogger,
};
