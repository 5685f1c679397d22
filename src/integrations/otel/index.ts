/** by-toolkit/otel: traces of clients, workers and agents for OpenTelemetry. */
export {otelTracer, type OtelTracerOptions} from './otel-tracer.js';
export {startTracing, type Tracing, type TracingOptions} from './start-tracing.js';
export type {OtlpProtocol} from './otlp-exporter.js';
export {StableSpanIds} from './span-ids.js';
