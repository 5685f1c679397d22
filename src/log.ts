/** Structured logs: one JSON object a line, on stderr, so that standard output stays the command's. */

export type LogLevel = 'debug' | 'info' | 'warn' | 'error';

export type LogFields = Readonly<Record<string, string | number | boolean | null | undefined>>;

export interface Logger {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
  /** A logger that adds these fields to every line. */
  child(fields: LogFields): Logger;
}

const ORDER: readonly LogLevel[] = ['debug', 'info', 'warn', 'error'];

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

/** JSON escapes line ends and control characters, so a value can not forge a line. */
export function createLogger(options: LoggerOptions = {}): Logger {
  const {level = 'info', now = Date.now, fields: own = {}} = options;
  const write = options.write ?? (line => void process.stderr.write(`${line}\n`));
  const log = (at: LogLevel, message: string, fields: LogFields = {}) => {
    if (ORDER.indexOf(at) < ORDER.indexOf(level)) return;
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
    });
    write(line, at, message, cut);
  };
  return {
    debug: (message, fields) => log('debug', message, fields),
    info: (message, fields) => log('info', message, fields),
    warn: (message, fields) => log('warn', message, fields),
    error: (message, fields) => log('error', message, fields),
    child: fields => createLogger({...options, fields: {...own, ...fields}}),
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
