/** A backend of OTLP over HTTP, on this machine: what is sent to it, span by span. */
import {createServer, type IncomingHttpHeaders} from 'node:http';
import type {AddressInfo} from 'node:net';

export interface ReceivedSpan {
  readonly traceId: string;
  readonly spanId: string;
  /** '' for a root. */
  readonly parentSpanId: string;
  readonly name: string;
  /** As OTLP numbers them: 1 internal, 2 server, 3 client, 4 producer, 5 consumer. */
  readonly kind: number;
  /** Unix milliseconds. */
  readonly startMs: number;
  readonly endMs: number;
  readonly attributes: Readonly<Record<string, unknown>>;
  readonly error: string | undefined;
  readonly exceptions: readonly string[];
  readonly serviceName: string;
}

export interface ReceivedRequest {
  readonly path: string;
  readonly headers: IncomingHttpHeaders;
  readonly body: Buffer;
}

export interface OtlpReceiver {
  readonly url: string;
  readonly requests: readonly ReceivedRequest[];
  /** Each once, by its id: a span may be told twice after a crash. */
  spans(): ReceivedSpan[];
  /** Everything, as it came. */
  all(): ReceivedSpan[];
  close(): Promise<void>;
}

/** @param answer the status it answers with; undefined: it never answers. Default 200. */
export async function startOtlpReceiver(answer: () => number | undefined = () => 200): Promise<OtlpReceiver> {
  const requests: ReceivedRequest[] = [];
  const server = createServer((request, response) => {
    const parts: Buffer[] = [];
    request.on('data', (part: Buffer) => parts.push(part));
    request.on('end', () => {
      requests.push({path: request.url ?? '', headers: request.headers, body: Buffer.concat(parts)});
      const status = answer();
      if (status === undefined) return;
      response.writeHead(status, {'content-type': request.headers['content-type'] ?? 'application/json'});
      response.end(request.headers['content-type'] === 'application/json' ? '{}' : '');
    });
  });
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  const {port} = server.address() as AddressInfo;
  const all = () =>
    requests
      .filter(({headers}) => headers['content-type'] === 'application/json')
      .flatMap(({body}) => spansIn(JSON.parse(String(body)) as Doc));
  return {
    url: `http://127.0.0.1:${port}`,
    requests,
    all,
    spans: () => [...new Map(all().map(span => [span.spanId, span])).values()],
    close: () =>
      new Promise(resolve => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

type Doc = Readonly<Record<string, unknown>>;
const list = (value: unknown): readonly Doc[] => (Array.isArray(value) ? (value as Doc[]) : []);
const doc = (value: unknown): Doc => (typeof value === 'object' && value !== null ? (value as Doc) : {});
const text = (value: unknown): string => (typeof value === 'string' ? value : '');

function spansIn(payload: Doc): ReceivedSpan[] {
  return list(payload['resourceSpans']).flatMap(resourceSpans => {
    const resource = attributesOf(doc(resourceSpans['resource'])['attributes']);
    const scopes = list(resourceSpans['scopeSpans']);
    return scopes
      .flatMap(scope => list(scope['spans']))
      .map(span => ({
        ...{traceId: text(span['traceId']), spanId: text(span['spanId'])},
        ...{parentSpanId: text(span['parentSpanId']), name: text(span['name']), kind: Number(span['kind'])},
        startMs: Number(BigInt(text(span['startTimeUnixNano'])) / 1_000_000n),
        endMs: Number(BigInt(text(span['endTimeUnixNano'])) / 1_000_000n),
        attributes: attributesOf(span['attributes']),
        error: doc(span['status'])['code'] === 2 ? text(doc(span['status'])['message']) : undefined,
        exceptions: list(span['events'])
          .filter(event => event['name'] === 'exception')
          .map(event => text(attributesOf(event['attributes'])['exception.type'])),
        serviceName: text(resource['service.name']),
      }));
  });
}

function attributesOf(value: unknown): Record<string, unknown> {
  return Object.fromEntries(list(value).map(({key, value}) => [text(key), plain(doc(value))]));
}

function plain(value: Doc): unknown {
  if ('intValue' in value) return Number(value['intValue']);
  if ('arrayValue' in value) return list(doc(value['arrayValue'])['values']).map(plain);
  return Object.values(value)[0];
}

/** The spans as a tree, children by their start and name, indented; a span without its parent is a root. */
export function drawTree(spans: readonly ReceivedSpan[]): string[] {
  const ids = new Set(spans.map(({spanId}) => spanId));
  const below = (parent: string | undefined, depth: number): string[] =>
    spans
      .filter(({parentSpanId}) => (parent === undefined ? !ids.has(parentSpanId) : parentSpanId === parent))
      .sort((a, b) => (a.name < b.name ? -1 : a.name > b.name ? 1 : a.startMs - b.startMs))
      .flatMap(span => [`${'  '.repeat(depth)}${span.name}`, ...below(span.spanId, depth + 1)]);
  return below(undefined, 0);
}
