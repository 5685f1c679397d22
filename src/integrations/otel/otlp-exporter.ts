/** Exporters of OTLP over HTTP, as JSON or as Protocol Buffers. */
import {createRequire} from 'node:module';
import {ByError, messageOf} from '../../errors.js';

export const OTLP_PROTOCOLS = ['http/json', 'http/protobuf'] as const;
export type OtlpProtocol = (typeof OTLP_PROTOCOLS)[number];

export interface ExportResult {
  /** 0 if it worked. */
  readonly code: number;
  readonly error?: Error;
}

/** As OpenTelemetry has it. */
export interface SpanExporter {
  export(spans: unknown[], done: (result: ExportResult) => void): void;
  shutdown(): Promise<void>;
  forceFlush?(): Promise<void>;
}

/** @throws {ByError} INVALID_CONFIG if the package is not there. */
export async function otlpExporter(
  protocol: OtlpProtocol,
  url: string | undefined,
  headers: Readonly<Record<string, string>>,
): Promise<SpanExporter> {
  const config = {...(url === undefined ? {} : {url}), headers: {...headers}};
  try {
    const {OTLPTraceExporter} = await import('@opentelemetry/exporter-trace-otlp-http');
    const json = new OTLPTraceExporter(config) as unknown as SpanExporter;
    return protocol === 'http/json' ? json : protobufExporter(config);
  } catch (error) {
    throw new ByError('INVALID_CONFIG', `The exporter of traces can not be made: ${messageOf(error)}`, {
      hint: 'npm install @opentelemetry/exporter-trace-otlp-http, and look at the headers.',
      cause: error,
    });
  }
}

/** What the packages below the exporter offer, as far as it is used here. */
interface BasePackage {
  readonly OTLPExporterBase: new (delegate: unknown) => SpanExporter;
}
interface NodeHttpPackage {
  convertLegacyHttpOptions(
    config: object,
    signal: string,
    path: string,
    headers: Readonly<Record<string, string>>,
  ): unknown;
  createOtlpHttpExportDelegate(
    options: unknown,
    serializer: unknown,
    componentType: string,
    metricsHelper: unknown,
  ): unknown;
}
interface TransformerPackage {
  readonly ProtobufTraceSerializer: unknown;
  readonly TraceExporterMetricsHelper: unknown;
}

/** The exporter's own parts, put together for the other encoding: no further package is needed. */
function protobufExporter(config: object): SpanExporter {
  // Its dependencies are found from where it lies: they need not be ours.
  const beside = createRequire(
    createRequire(import.meta.url).resolve('@opentelemetry/exporter-trace-otlp-http'),
  );
  const base = beside('@opentelemetry/otlp-exporter-base') as BasePackage;
  const http = beside('@opentelemetry/otlp-exporter-base/node-http') as NodeHttpPackage;
  const transformer = beside('@opentelemetry/otlp-transformer') as TransformerPackage;
  return new base.OTLPExporterBase(
    http.createOtlpHttpExportDelegate(
      http.convertLegacyHttpOptions(config, 'TRACES', 'v1/traces', {
        'Content-Type': 'application/x-protobuf',
      }),
      transformer.ProtobufTraceSerializer,
      'otlp_http_span_exporter',
      transformer.TraceExporterMetricsHelper,
    ),
  );
}
