/**
 * What the other SDKs were recorded to write of one execution, from the interop vectors: the record at its end, and what was
 * said. Ids and times are of the recording; whoever plays one puts its own in their place.
 *
 * No worker in Java was recorded, only its messages: what its records hold is spec §5.6, read from its source.
 */
import {asDoc, at, rows, type Doc} from '../interop/vectors.js';

/** A line of the recorded summary of a session's events. */
interface Said {
  readonly eventType: string;
  readonly contentType: string;
  readonly role: string | null;
  readonly content: string;
}

export interface Scene {
  /** As it was when the turn had ended. */
  readonly record: Doc;
  readonly said: readonly Said[];
}

export type SceneName =
  'success' | 'lowerCase' | 'failure' | 'asks' | 'answered' | 'cancelled' | 'cancelledQueued';

export interface Dialect {
  readonly name: 'python' | 'typescript' | 'java';
  readonly scenes: Readonly<Record<SceneName, Scene>>;
  /** Events written whole; the others are written after the first of them. */
  readonly events: readonly Doc[];
  /** A lease, as it was recorded. */
  readonly presence: Doc;
  /** Keys of a command's header that its worker reads without refusing the command. Undefined: any. */
  readonly headerKeys?: readonly string[];
}

/** The vector of this name and SDK. */
function row(file: string, name: string, sdk: string): Doc {
  const found = rows.find(one => one.file === file && one.name === name && one.sdk.startsWith(sdk));
  if (found === undefined) throw new Error(`no vector ${file}/${name} of ${sdk}`);
  return asDoc(found.expected);
}

/** The only record of a registry, or the one its message leads to. */
function recordOf(registry: Doc): Doc {
  const [, id] = Object.entries(registry).find(([field]) => field.startsWith('msg_map:')) ?? [];
  return asDoc(registry[`exec:${String(id)}`]);
}

const said = (summary: unknown): Said[] =>
  (summary as Doc[]).map(line => ({
    ...{eventType: String(line['event_type']), contentType: String(line['contentType'])},
    ...{role: line['role'] as string | null, content: String(line['content'])},
  }));

const summed = (doc: Doc): Scene => ({
  record: recordOf(asDoc(doc['session_registry'])),
  said: said(doc['data_stream_summary']),
});

const STREAM = 'byai_gateway:session:sess-1:data_stream';
const REGISTRY = 'byai_gateway:session:sess-1:registry';

const eventsOf = (redis: unknown): Doc[] =>
  (at(redis, STREAM, 'entries') as Doc[]).map(entry => asDoc(entry['data']));

/** One that was recorded key by key. */
function whole({redis}: Doc): Scene {
  return {
    record: recordOf(asDoc(at(redis, REGISTRY, 'value'))),
    said: eventsOf(redis).map(event => ({
      ...{eventType: String(event['event_type']), contentType: String(at(event, 'data', 'contentType'))},
      role: at(event, 'data', 'choices', 0, 'delta', 'role') as string | null,
      content: String(at(event, 'data', 'choices', 0, 'delta', 'content')),
    })),
  };
}

/** What was said after it was asked belongs to the second turn. */
const after = (first: Scene, second: Scene): Scene => ({
  ...second,
  said: second.said.slice(first.said.length),
});

const python = ((): Dialect => {
  const of = (name: string) => row('lifecycle', name, 'python');
  const asks = summed(of('ask_user.1_suspended'));
  return {
    name: 'python',
    scenes: {
      success: whole(of('simple_ask')),
      lowerCase: summed(of('return_lowercase_completed')),
      failure: summed(of('raise')),
      asks,
      answered: after(asks, summed(of('ask_user.2_resumed'))),
      cancelled: summed(row('control', 'cancel_session.force', 'python')),
      cancelledQueued: summed(row('control', 'cancel.queued_before_pickup', 'python')),
    },
    events: eventsOf(of('simple_ask')['redis']),
    presence: asDoc(at(of('simple_ask'), 'redis', 'byai_gateway:registry:worker:online:worker-01', 'value')),
  };
})();

const typescript = ((): Dialect => {
  const of = (name: string) => row('ts_sdk', name, 'typescript');
  const resumed = of('ask_user_then_resume');
  const both = summed(resumed);
  const asks = {
    record: recordOf(asDoc(at(resumed, 'extra', 'suspended_registry'))),
    said: both.said.slice(0, 1),
  };
  const cancelledQueued = summed(of('cancel_before_pickup'));
  return {
    name: 'typescript',
    scenes: {
      success: whole(of('simple_ask')),
      lowerCase: summed(of('return_lowercase_completed')),
      failure: summed(of('raise')),
      asks,
      answered: after(asks, both),
      // Not recorded while it ran: its record is that of one that was cancelled before.
      cancelled: cancelledQueued,
      cancelledQueued,
    },
    events: eventsOf(of('simple_ask')['redis']),
    presence: asDoc(
      at(of('registry.after_worker_start'), 'byai_gateway:registry:worker:online:worker-01', 'value'),
    ),
  };
})();

const java = ((): Dialect => {
  const parsed = (name: string) => asDoc(at(row('java_protocol', name, 'java'), 'ok', 'parsed'));
  /** The status its SDK makes of what a handler returned. */
  const status = (returned: string) => {
    const found = rows.find(
      one =>
        one.file === 'java_protocol' &&
        one.name === 'normalize' &&
        JSON.stringify(one.input) === JSON.stringify(returned),
    );
    return String(at(found?.expected, 'ok', 'status'));
  };
  const minimal = (name: string, ...texts: string[]): Scene => ({
    record: {status: name, worker_id: 'w', finished_at: 1},
    said: texts.map(content => ({eventType: 'answerDelta', contentType: '1002', role: 'assistant', content})),
  });
  const final = (content: string) => ({
    eventType: 'finalAnswer',
    contentType: '1002',
    role: 'assistant',
    content,
  });
  const failure = minimal('FAILED');
  const cancelled = minimal('CANCELLED');
  const event = parsed('encode.data_message');
  const data = {
    id: 'gw-0a1b2c3d',
    created: 1,
    ...asDoc(event['data']),
    choices: [{index: 0, delta: {role: null, content: ''}}],
  };
  return {
    name: 'java',
    scenes: {
      success: {
        ...minimal(status('COMPLETED'), 'Hello '),
        said: [...minimal('', 'Hello ').said, final('Hello world')],
      },
      lowerCase: {...minimal(status('{status=completed, content=x}')), said: [final('x')]},
      failure,
      asks: {
        record: {status: 'WAITING_USER', worker_id: 'w'},
        said: [
          {eventType: 'reasoningLogDelta', contentType: '3013', role: 'assistant', content: 'Which env?'},
        ],
      },
      answered: {...minimal(status('COMPLETED')), said: [final('said prod')]},
      cancelled,
      cancelledQueued: cancelled,
    },
    events: [{...event, data}],
    presence: python.presence,
    headerKeys: Object.keys(asDoc(parsed('encode.ask_agent.full')['header'])),
  };
})();

export const dialects: readonly Dialect[] = [python, typescript, java];
