import {expect} from 'vitest';
import {ByError} from '../../../src/errors.js';
import {
  assertSendable,
  commandToWire,
  decodeCommand,
  encodeCommand,
  readCommandEntry,
  registerCommand,
  unregisterCommand,
  type CancelMode,
  type Command,
} from '../../../src/protocol/commands.js';
import {createHeader, decodeHeader, encodeHeader} from '../../../src/protocol/header.js';
import {ProtocolError} from '../../../src/protocol/limits.js';
import {commandAsWeWrite} from '../documents.js';
import {asDoc, at, failed, type Check, type Doc, type Family, type Row} from '../vectors.js';

const header = createHeader({messageId: 'msg-1', sessionId: 'sess-1', traceId: 'trace-1'});

const decoded = (doc: unknown) => decodeCommand(doc, {messageId: () => 'made-up', traceId: () => 'made-up'});

/** We read the document and write what `wire` says. */
const becomes = (doc: unknown, wire: Doc) => expect(commandToWire(decoded(doc))).toEqual(wire);

const refuses = (doc: unknown) => expect(() => decoded(doc)).toThrow(ProtocolError);

/** What the row's SDK makes of the document, in the spelling we write. */
function outcomeOf(row: Row): Doc {
  const ok = asDoc(at(row.expected, 'ok'));
  return commandAsWeWrite(asDoc(ok['dict'] ?? ok['reserialized'] ?? ok));
}

/** As the SDK that made the row. */
const decode: Check = row => {
  if (failed(row)) refuses(row.input);
  else becomes(row.input, outcomeOf(row));
};

/** The SDK refuses the document or reads it otherwise; we read it, and the body becomes this. */
const decodesTo =
  (body: Doc): Check =>
  row => {
    const doc = asDoc(row.input);
    const written = commandToWire(decoded(doc));
    expect(written.body).toEqual(body);
    expect(written.header).toMatchObject(encodeHeader(decodeHeader(doc['header'])));
  };

/** Read what the SDK wrote into the stream, and write the same. */
const encode: Check = row => {
  const fields = at(row.expected, 'stream_fields') as {data: string};
  const dict = asDoc(at(row.expected, 'dict'));
  expect(JSON.parse(encodeCommand(readCommandEntry(fields.data)))).toEqual(dict);
  assertSendable(readCommandEntry(fields.data));
};

const ask = (content: string | object[]): Command => ({
  action: 'ASK_AGENT',
  header,
  content,
  waitForReply: false,
  extraPayload: {},
});
const resume = (content: string): Command => ({
  action: 'RESUME',
  header,
  content,
  status: '',
  replyData: null,
  extraPayload: {},
});
const cancel = (targetMessageId: string, cancelMode: string): Command => ({
  action: 'CANCEL_TASK',
  header,
  targetMessageId,
  targetExecutionId: '',
  targetWorkerId: '',
  reason: '',
  requestedBy: '',
  cancelMode: cancelMode as CancelMode,
});

const neverSent =
  (command: Command): Check =>
  () =>
    expect(() => assertSendable(command)).toThrow(ByError);

function withPing(check: () => void): void {
  registerCommand('PING');
  try {
    check();
  } finally {
    unregisterCommand('PING');
  }
}

export const commandsFamily: Family = {
  file: 'commands',
  checks: [
    [
      /^header\.from_dict\.missing_(message|trace)_id$/, // C5: made up; Python refuses.
      row => {
        const made = encodeHeader(decodeHeader(row.input, {messageId: () => 'new', traceId: () => 'new'}));
        expect(made).toEqual({message_id: 'new', trace_id: 'new', ...asDoc(row.input)});
      },
    ],
    [
      /^header\.from_dict\.missing_session_id$/,
      row => expect(() => decodeHeader(row.input)).toThrow(ProtocolError),
    ],
    [/^header\.from_dict\.metadata_null$/, row => expect(decodeHeader(row.input).metadata).toEqual({})], // C6
    [/^header\./, row => expect(encodeHeader(decodeHeader(row.input))).toEqual(row.expected)],

    [/^validate\.ask_agent\.empty_string$/, neverSent(ask(''))],
    [/^validate\.ask_agent\.blank_string$/, neverSent(ask('  \n'))],
    [/^validate\.ask_agent\.empty_list$/, neverSent(ask([]))],
    [
      /^validate\.ask_agent\.none$/,
      () => {
        const command = decoded({
          action_type: 'ASK_AGENT',
          header: encodeHeader(header),
          body: {content: null},
        });
        expect(() => assertSendable(command)).toThrow(ByError);
      },
    ],
    [
      /^validate\.ask_agent\.dict_is_accepted$/,
      row => becomes(at(row.expected, 'ok'), outcomeOf(row)), // In a list of one: the header of documents.ts.
    ],
    [/^validate\.resume\.nothing$/, neverSent(resume(''))],
    [/^validate\.resume\.blank_content$/, neverSent(resume('  '))],
    [/^validate\.cancel_task\.no_target$/, neverSent(cancel('', 'graceful'))],
    [/^validate\.cancel_task\.bad_mode$/, neverSent(cancel('msg-2', 'x'))],
    [
      /^validate\.reload_plugins\.no_id$/,
      neverSent({action: 'RELOAD_PLUGINS', header, reloadId: '', reason: ''}),
    ],

    // C3: accepted, so that the worker can answer FAILED; never sent.
    [/^decode\.ask_agent\.missing_body$/, decodesTo({content: '', wait_for_reply: false})],
    [/^decode\.ask_agent\.wait_for_reply_truthy$/, decodesTo({content: 'x', wait_for_reply: false})], // C4
    [/^decode\.ask_agent\.extra_payload_null$/, decodesTo({content: 'x', wait_for_reply: false})], // C2
    [/^decode\.resume\.empty$/, decodesTo({content: '', status: '', reply_data: null})], // C3
    [
      /^decode\.cancel\.bad_mode$/, // C7
      row => expect(decoded(row.input)).toMatchObject({cancelMode: 'graceful', targetMessageId: 'm1'}),
    ],
    [/^decode\.custom\.ping$/, row => withPing(() => becomes(row.input, outcomeOf(row)))],
    [/^custom\.ping$/, row => withPing(() => encode(row))],
    [/^decode\./, decode],
    [/./, encode],
  ],
};

/** Documents of Java's protocol classes. */
export const decodeJava = {
  asTheSdk: decode,
  decodesTo,
  refused: ((row: Row) => refuses(row.input)) as Check,
  accepted: ((row: Row) => expect(() => decoded(row.input)).not.toThrow()) as Check,
};
