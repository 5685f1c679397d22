/** The smaller formats: typed messages, agent configs, discovery, metrics, traces. */
import {expect} from 'vitest';
import {
  auditConfigs,
  configHash,
  emptyConfigsSnapshot,
  isPickledSnapshot,
  redactConfig,
} from '../../../src/protocol/agent-config.js';
import {decodeContent, encodeContent} from '../../../src/protocol/content.js';
import {isHealthy, readServiceInstance} from '../../../src/protocol/discovery.js';
import {createKeys} from '../../../src/protocol/keys.js';
import {collectorLockTtlS, readHistoryPoint} from '../../../src/protocol/metrics.js';
import {
  IO_LIMIT,
  MAX_SPANS_PER_TRACE,
  METADATA_LIMIT,
  sanitizeIo,
  spanFromWire,
  spanToWire,
  TRACE_TTL_S,
  traceMetaOfSpan,
  traceRootEnd,
  traceRootStart,
} from '../../../src/protocol/trace.js';
import {checkDocuments} from '../documents.js';
import {asDoc, at, type Check, type Doc, type Family, type Row} from '../vectors.js';

// Typed messages. The inputs are Python literals; these are the same values.

const file = {fileId: 7, fileUrl: 'https://x/y.png', fileType: 'image', fileName: 'y.png'};
const resource = {
  resourceId: 'r1',
  resourceName: 'kb',
  resourceType: 'KB',
  id: '',
  path: '',
  resourceDesc: '',
  resourceMetaData: {},
};
const SERIALIZED: Readonly<Record<string, unknown>> = {
  'serialize.string': 'plain',
  'serialize.message.text': {role: 'user', content: 'hi'},
  'serialize.message.str_role': {role: 'user', content: 'hi'},
  'serialize.message.structured': {
    role: 'user',
    content: {text: 'look', files: [file], resources: [resource]},
  },
  'serialize.message.structured_empty': {role: 'system', content: {text: 't'}},
  'serialize.list.messages': [
    {role: 'user', content: 'a'},
    {role: 'tool-call', content: 'b'},
  ],
  'serialize.list.mixed': [{role: 'user', content: 'raw'}, {role: 'assistant', content: 'b'}, 5],
  'serialize.dict_passthrough': {a: 1},
  'serialize.none': null,
};

const valueOf = (ok: unknown): unknown => {
  if (Array.isArray(ok)) return (ok as unknown[]).map(valueOf);
  return at(ok, 'value');
};

export const byaiFamily: Family = {
  file: 'byai_codec',
  checks: [
    [
      /^serialize\./,
      row => {
        expect(SERIALIZED).toHaveProperty([row.name]);
        expect(encodeContent(SERIALIZED[row.name])).toEqual(row.expected);
      },
    ],
    // Python refuses both; we read them, without the key nobody else knows.
    [
      /^deserialize\.file_extra_key$/,
      row =>
        expect(decodeContent(row.input)).toEqual({
          role: 'user',
          content: {
            text: 't',
            files: [{fileId: 1, fileUrl: 'u', fileType: 'image', fileName: 'n'}],
            resources: [],
          },
        }),
    ],
    [
      /^deserialize\.unknown_role$/,
      row => expect(decodeContent(row.input)).toEqual({role: 'robot', content: 'x'}),
    ],
    [/^deserialize\./, row => expect(decodeContent(row.input)).toEqual(valueOf(at(row.expected, 'ok')))],
  ],
};

// Agent configs

export const snapshotFamily: Family = {
  file: 'agent_configs_snapshot',
  checks: [
    [
      /./,
      row => {
        const value = at(row.expected, 'value') as string;
        expect(emptyConfigsSnapshot(at(row.input, 'version') as number)).toBe(value);
        expect(isPickledSnapshot(value)).toBe(true);
      },
    ],
  ],
};

/** The row does not show the prompt nor the secrets it was made from, so hashes of them stay out of the comparison. */
function checkAudit(row: Row): void {
  const {snapshot_hash: hash, ...audit} = asDoc(row.expected);
  expect(configHash(audit)).toBe(hash);
  const ours = auditConfigs(3, 'writer', [
    {
      agentId: 'writer',
      name: 'Writer',
      description: 'd',
      prompts: {system: 'not shown', b: 1},
      tools: {search: {api_key: 'not shown', url: 'u'}, f: [1, 2]},
      skills: {s: {token: 'not shown'}},
      knowledgeBases: {kb: 1},
      subAgents: ['x'],
      extra: {Authorization: 'not shown', ok: true},
    },
    {agentId: 'alpha'},
  ]);
  const hidden = (doc: unknown) =>
    JSON.parse(JSON.stringify(doc), (key, value: unknown) =>
      key === 'system' || key === 'snapshot_hash' || (key === 'search' && hashOfSecret(value))
        ? undefined
        : value,
    ) as Doc;
  expect(hidden(ours)).toEqual(hidden(row.expected));
  expect(redactConfig({api_key: 'not shown', url: 'u'})).toEqual(
    at(row.expected, 'target_agent_config', 'tools', 'search', 'redacted_config'),
  );
}

const hashOfSecret = (value: unknown) => typeof value === 'object';

export const auditFamily: Family = {
  file: 'agent_config_audit',
  checks: [
    [
      /^audit\.unregistered_target$/,
      row => {
        const {snapshot_hash: _hash, ...ours} = auditConfigs(0, 'zzz', []);
        const {snapshot_hash: _theirs, ...expected} = asDoc(row.expected);
        // Free text: SDKs differ, and the hash with it.
        const target = {...ours.target_agent_config, description: '<free text>'};
        expect({...ours, target_agent_config: target}).toEqual(expected);
      },
    ],
    [/^audit$/, checkAudit],
  ],
};

// Discovery

const documentsOf: Check = row => {
  expect([...checkDocuments(row.expected).values()].length).toBeGreaterThan(0);
};

export const discoveryFamily: Family = {
  file: 'discovery',
  checks: [
    [
      /\.get_instances$/,
      row => {
        const {last_heartbeat: heartbeat, ...instance} = asDoc(at(row.expected, 0));
        expect(checkDocuments(instance).get('service-instance')).toBe(1);
        expect(isHealthy(heartbeat as number, 1_750_000_000_123)).toBe(true);
      },
    ],
    [
      /^health_threshold$/,
      row => {
        const now = 1_750_000_000_123;
        const threshold = at(row.input, 'threshold_ms') as number;
        const healthy = (ageMs: number, thresholdMs = threshold) =>
          Number(isHealthy(now - ageMs, now, thresholdMs));
        expect({
          age_0: healthy(0),
          age_29s: healthy(29_000),
          age_31s: healthy(31_000),
          'no_health_check(-1)': healthy(31_000, -1),
        }).toEqual(row.expected);
      },
    ],
    [
      /^instance\.decode$/,
      row => {
        // An unknown key is no reason to lose the instance; Python and Java refuse it.
        const {id, host, port, protocol, pathPrefix} = readServiceInstance(row.input as string);
        expect({id, host, port, protocol, pathPrefix}).toEqual({
          id: 'a',
          host: 'h',
          port: 1,
          protocol: 'http',
          pathPrefix: null,
        });
      },
    ],
    [/\.(register|unregister)$/, documentsOf],
  ],
};

// Metrics

export const metricsFamily: Family = {
  file: 'metrics',
  checks: [
    [
      /^collector_keys$/,
      row => {
        const keys = createKeys();
        expect(Object.keys(asDoc(row.expected)).sort()).toEqual(
          [keys.metricsLock(), keys.metricsHistory()].sort(),
        );
        expect(at(row.expected, keys.metricsLock(), 'ttl_seconds')).toBe(
          collectorLockTtlS(at(row.input, 'interval') as number),
        );
        const [text, score] = at(row.expected, keys.metricsHistory(), 'value', 0) as [string, number];
        expect(readHistoryPoint(text).generatedAt).toBe(score);
        documentsOf(row);
      },
    ],
    [/^(snapshot|history_point)$/, documentsOf],
  ],
};

// Traces

const spans = (row: Row) => at(row.input, 'spans') as Doc[];

/** One after the other, as the hash would hold it. */
function metaAfter(docs: readonly Doc[]): Record<string, string> {
  return docs.reduce<Record<string, string>>(
    (known, doc) => ({...known, ...traceMetaOfSpan(spanFromWire(doc), known)}),
    {},
  );
}

export const traceFamily: Family = {
  file: 'trace',
  checks: [
    [/^span\.payload\./, row => expect(spanToWire(spanFromWire(asDoc(row.input)))).toEqual(row.expected)],
    [
      /^span\.redis\./,
      row => {
        const keys = createKeys();
        const [first] = spans(row);
        const traceId = first?.['trace_id'] as string;
        const stored = at(row.expected, 'redis', keys.traceSpans(traceId), 'value');
        expect(spans(row).map(doc => spanToWire(spanFromWire(doc)))).toEqual(stored);
        const meta = at(row.expected, 'redis', keys.traceMeta(traceId)) as {value: Doc; ttl_seconds: number};
        expect(metaAfter(spans(row))).toEqual(meta.value);
        expect(meta.ttl_seconds).toBe(TRACE_TTL_S);
      },
    ],
    [
      /^trace_root\.start$/,
      row => {
        const fields = traceRootStart({
          traceId: 'trace-1',
          sessionId: 'sess-1',
          rootMessageId: 'msg-1',
          rootAgentType: 'writer',
          input: 'hi',
          startTs: 1_750_000_000_123,
        });
        expect(fields).toEqual(at(row.expected, 'redis', createKeys().traceMeta('trace-1'), 'value'));
      },
    ],
    [
      /^trace_root\.end/,
      row => {
        const fields = traceRootEnd({status: 'COMPLETED', endTs: 1_750_000_005_000, output: {a: 1}});
        expect(at(row.expected, 'redis', createKeys().traceMeta('trace-1'), 'value')).toMatchObject(fields);
        expect(fields).not.toHaveProperty('start_ts'); // Python writes 0 over it.
      },
    ],
    [
      /^span_record\.to_dict$/,
      row => expect(spanToWire(spanFromWire(asDoc(row.expected)))).toEqual(row.expected),
    ],
    [
      /^sanitize_io$/,
      row => {
        switch (at(row.input, 'type')) {
          case 'str': {
            const cut = sanitizeIo('x'.repeat(at(row.input, 'len') as number)) as string;
            const {len, suffix} = row.expected as {len: number; suffix: string};
            expect([cut.length, cut.endsWith(suffix)]).toEqual([len, true]);
            break;
          }
          case 'dict':
            expect(sanitizeIo({k: Array.from({length: 60}, (_, index) => index)})).toEqual(row.expected);
            break;
          default:
            expect(sanitizeIo(row.expected)).toEqual(row.expected);
        }
      },
    ],
    [
      /^config\.defaults$/,
      row =>
        expect(row.expected).toMatchObject({
          ttl_seconds: TRACE_TTL_S,
          max_spans_per_trace: MAX_SPANS_PER_TRACE,
          metadata_value_max_length: METADATA_LIMIT,
          io_value_max_length: IO_LIMIT,
        }),
    ],
  ],
};
