/** Traces of what a command does: set up as flags, environment and project say, and ended with it. */
import {tracingFromEnv} from '../config/load.js';
import type {TracingConfig} from '../config/tracing.js';
import type {RedisTraceOptions} from '../observe/redis-tracer.js';
import {loggerTo, type Logger} from '../log.js';
import type {Tracer} from '../protocol/tracer.js';
import type {Printer} from './printer.js';

export interface CliTracing {
  /** For a client or a worker. */
  readonly options: {readonly tracer?: Tracer; readonly redisTraces?: RedisTraceOptions};
  /** Send what is still here; resolves also if that fails. */
  stop(): Promise<void>;
}

const STOP_MS = 2000;

/** What tracing has to say, among what a command shows. */
export const printedLog = (printer: Printer): Logger =>
  loggerTo((level, message, {error}) => {
    const line = `${message}${typeof error === 'string' ? `: ${error}` : ''}`;
    if (level === 'warn' || level === 'error') printer.warn(line);
    else printer.detail(line);
  });

/** @throws {ByError} INVALID_CONFIG */
export async function openTracing(
  {redisTraces, config}: {readonly redisTraces: boolean; readonly config: TracingConfig | undefined},
  log: Logger,
): Promise<CliTracing> {
  const {redis, otlp, sampleRate, content} = tracingFromEnv(config, redisTraces);
  const written = redis && {redisTraces: {...redis, sampleRate, content}};
  if (otlp === undefined) return {options: {...written}, stop: () => Promise.resolve()};
  const {startTracing} = await import('../integrations/otel/start-tracing.js');
  const tracing = await startTracing({
    ...(otlp.endpoint === undefined ? {} : {endpoint: otlp.endpoint}),
    ...(otlp.headers === undefined ? {} : {headers: otlp.headers}),
    ...(otlp.protocol === undefined ? {} : {protocol: otlp.protocol}),
    ...(otlp.serviceName === undefined ? {} : {serviceName: otlp.serviceName}),
    ...{sampleRate, content, log},
  });
  return {options: {...written, tracer: tracing.tracer}, stop: () => tracing.stop(STOP_MS)};
}
