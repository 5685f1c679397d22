/** `by worker log-level`. */
import {systemClock} from '../clock.js';
import {ByError} from '../errors.js';
import type {LogLevel} from '../log.js';
import {clearLogLevel, MAX_LOG_LEVEL_MS, readLogLevel, setLogLevel} from '../store/log-levels.js';
import type {Store} from '../store/store.js';
import {sdkOf} from '../store/worker-admin.js';
import {formatDuration} from './duration.js';
import {checkedId} from './ids.js';
import {requireKnownWorker} from './known-worker.js';
import {paint, type Printer} from './printer.js';
import {actor} from './replay-dead-letters.js';
import {isoTime} from './time.js';

export interface LogLevelRequest {
  readonly workerId: string;
  /** Undefined: say which it is. */
  readonly level: LogLevel | undefined;
  readonly forMs: number;
  /** Let it log as it was started. */
  readonly reset: boolean;
}

/** @throws {ByError} USAGE, INVALID_INPUT, NOT_FOUND, CONFLICT for a worker of another SDK. */
export async function changeLogLevel(store: Store, printer: Printer, request: LogLevelRequest) {
  const workerId = checkedId(request.workerId, 'worker id');
  const {level, forMs, reset} = request;
  if (forMs < 1 || forMs > MAX_LOG_LEVEL_MS) {
    throw new ByError('USAGE', '--for is longer than nothing, and at most 7 days.', {
      hint: 'Write for example --for 15m.',
    });
  }
  await requireKnownWorker(store, workerId);
  const sdk = await sdkOf(store, workerId);
  if (sdk === 'other') {
    throw new ByError('CONFLICT', `"${workerId}" is a worker of another SDK, whose log is its own affair.`, {
      hint: 'Set the level where that worker is started.',
    });
  }
  const before = await readLogLevel(store, workerId);
  if (level === undefined && !reset) {
    printer.out(
      before === undefined
        ? `${workerId} logs as it was started`
        : `${workerId} logs ${before.level}  for ${formatDuration(before.expiresInMs)} more`,
    );
    return {workerId, level: before?.level ?? null, expiresInMs: before?.expiresInMs ?? null, changed: false};
  }
  if (level === undefined) await clearLogLevel(store, workerId);
  else await setLogLevel(store, workerId, {level, forMs});
  const what = level === undefined ? 'logs as it was started' : `logs ${level} for ${formatDuration(forMs)}`;
  printer.out(paint.green(printer.symbol('ok')), ` ${workerId} ${what}`);
  printer.note(
    sdk === 'none'
      ? `"${workerId}" is offline now.`
      : 'It hears of that with its next heartbeat, within seconds.',
  );
  return {
    ...{workerId, level: level ?? null, expiresInMs: level === undefined ? null : forMs},
    ...{changed: level !== undefined || before !== undefined, actor: actor(), at: isoTime(systemClock())},
  };
}
