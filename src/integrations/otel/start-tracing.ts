/** The quick way to traces: OpenTelemetry set up to send spans over OTLP, with what its packages bring. */
import {within} from '../../clock.js';
import {ByError, messageOf} from '../../errors.js';
import {createLogger} from '../../json-log.js';
import type {Logger} from '../../log.js';
import type {Tracer} from '../../protocol/tracer.js';
import {otlpExporter, type ExportResult, type OtlpProtocol, type SpanExporter} from './otlp-exporter.js';
import {otelTracer} from './otel-tracer.js';
import {StableSpanIds} from './span-ids.js';

export interface TracingOptions {
  /**
   * Where spans go: `https://host:4318`, with a path where the backend has one; `/v1/traces` is added. Default: what
   * OpenTelemetry's own variables say, else `http://localhost:4318`.
   */
  readonly endpoint?: string;
  /** Sent with every export; may hold secrets. */
  readonly headers?: Readonly<Record<string, string>>;
  /** Default `by-toolkit`. */
  readonly serviceName?: string;
  /** Default `http/json`. Phoenix takes only `http/protobuf`. */
  readonly protocol?: OtlpProtocol;
  /** The share of traces that is sent, from 0 to 1: the same traces in every process and SDK. Default 1. */
  readonly sampleRate?: number;
  /** Send inputs and outputs too, cut and without secrets. Default false. */
  readonly content?: boolean;
  /** Milliseconds spans are gathered before they are sent. Default 1,000. */
  readonly exportEveryMs?: number;
  /** Make this the process's OpenTelemetry, so that what other libraries trace goes with it. Default true. */
  readonly global?: boolean;
  /** Told when exports begin to fail, and when they work again. Default: JSON lines on standard error. */
  readonly log?: Logger;
}

export interface Tracing {
  /** For `createClient`, `startWorker` and `runWorker`. */
  readonly tracer: Tracer;
  /** Exports that failed so far. */
  readonly failedExports: number;
  /** Send what is still here, and end. Resolves also if that fails. @param timeoutMs default 5,000. */
  stop(timeoutMs?: number): Promise<void>;
}

const STOP_MS = 5000;

/** @throws {ByError} INVALID_CONFIG if the packages of OpenTelemetry are not there, or the endpoint is no address. */
export async function startTracing(options: TracingOptions = {}): Promise<Tracing> {
  const {serviceName = 'by-toolkit', protocol = 'http/json', exportEveryMs = 1000} = options;
  const {sampleRate = 1, content = false, log = createLogger()} = options;
  if (!(sampleRate >= 0 && sampleRate <= 1)) {
    throw new ByError('INVALID_CONFIG', `${sampleRate} can not be the share of traces that is sent.`, {
      hint: 'Give a number from 0 to 1.',
    });
  }
  const url = options.endpoint === undefined ? undefined : tracesUrl(options.endpoint);
  const [sdk, {resourceFromAttributes}] = await packages();
  const counted = countFailures(await otlpExporter(protocol, url, options.headers ?? {}), log);
  const provider = new sdk.NodeTracerProvider({
    idGenerator: new StableSpanIds(),
    resource: resourceFromAttributes({'service.name': serviceName}),
    spanProcessors: [new sdk.BatchSpanProcessor(counted.exporter, {scheduledDelayMillis: exportEveryMs})],
  });
  if (options.global !== false) provider.register();
  // What can not be sent is lost.
  const inTime = async (timeoutMs: number, work: Promise<void>) => {
    await within(
      timeoutMs,
      work.catch(() => undefined),
    );
  };
  return {
    tracer: otelTracer({
      ...{provider, sampleRate, content},
      flush: timeoutMs => inTime(timeoutMs, provider.forceFlush()),
    }),
    get failedExports() {
      return counted.failures();
    },
    stop: (timeoutMs = STOP_MS) => inTime(timeoutMs, provider.shutdown()),
  };
}

/** @throws {ByError} INVALID_CONFIG; the address may hold a secret, so it is not repeated. */
function tracesUrl(endpoint: string): string {
  const url = URL.canParse(endpoint) ? new URL(endpoint) : undefined;
  if (url === undefined || !['http:', 'https:'].includes(url.protocol)) {
    throw new ByError('INVALID_CONFIG', 'The endpoint for traces is no http or https address.', {
      hint: 'Write it as https://host:4318, with a path where the backend has one.',
    });
  }
  const path = url.pathname.replace(/\/+$/, '');
  url.pathname = path.endsWith('/v1/traces') ? path : `${path}/v1/traces`;
  return url.href;
}

async function packages() {
  try {
    return await Promise.all([import('@opentelemetry/sdk-trace-node'), import('@opentelemetry/resources')]);
  } catch (error) {
    throw new ByError('INVALID_CONFIG', `OpenTelemetry can not be loaded: ${messageOf(error)}`, {
      hint: 'npm install @opentelemetry/api@1.9 @opentelemetry/sdk-trace-node @opentelemetry/resources @opentelemetry/exporter-trace-otlp-http',
      cause: error,
    });
  }
}

/** Says once that exports fail, and once that they work again. */
function countFailures(
  exporter: SpanExporter,
  log: Logger,
): {readonly exporter: SpanExporter; readonly failures: () => number} {
  let failures = 0;
  let isFailing = false;
  const note = ({code, error}: ExportResult) => {
    const hasFailed = code !== 0;
    if (hasFailed) failures++;
    if (hasFailed && !isFailing)
      log.warn('traces can not be sent', {error: messageOf(error ?? 'no reason given').slice(0, 200)});
    if (!hasFailed && isFailing) log.info('traces are sent again');
    isFailing = hasFailed;
  };
  return {
    failures: () => failures,
    exporter: {
      export: (spans, done) =>
        exporter.export(spans, result => {
          note(result);
          // Nobody waits for it, and one that failed is not tried again: new spans matter more.
          done({code: 0});
        }),
      shutdown: () => exporter.shutdown(),
      forceFlush: () => exporter.forceFlush?.() ?? Promise.resolve(),
    },
  };
}
