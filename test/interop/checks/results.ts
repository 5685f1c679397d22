import {expect} from 'vitest';
import {ProtocolError} from '../../../src/protocol/limits.js';
import {normalizeResult, type TaskResult} from '../../../src/protocol/results.js';
import {asDoc, at, failed, type Check, type Family} from '../vectors.js';

const wireOf = (result: TaskResult) => ({
  status: result.status,
  content: result.content,
  reply_data: result.replyData,
  metadata: result.metadata,
  extra_payload: result.extraPayload,
});

/** What a handler returned becomes this; fields not named are the defaults. */
const becomes = (value: unknown, fields: Partial<ReturnType<typeof wireOf>>): Check => {
  const defaults = {status: 'COMPLETED', content: '', reply_data: null, metadata: {}, extra_payload: {}};
  return () => expect(wireOf(normalizeResult(value))).toEqual({...defaults, ...fields});
};

const refuses =
  (value: unknown): Check =>
  () =>
    expect(() => normalizeResult(value)).toThrow(ProtocolError);

const asPython: Check = row => {
  if (failed(row)) expect(() => normalizeResult(row.input)).toThrow(ProtocolError);
  else expect(wireOf(normalizeResult(row.input))).toEqual(asDoc(row.expected)['ok'] ?? row.expected);
};

export const resultsFamily: Family = {
  file: 'process_results',
  checks: [
    [/^dict\.lowercase_status$/, becomes({status: 'completed', content: 'x'}, {content: 'x'})], // S5
    [/^dict\.replyData_camel$/, becomes({replyData: 1}, {reply_data: 1})], // R19: TypeScript's spelling
    // The rows show Python values JSON can not hold; these are their like.
    [/^dict\.non_str_key$/, refuses(new Map([[1, 2]]))],
    [/^object$/, refuses({reply_data: () => 1})],
    [/./, asPython],
  ],
};

/** R19: what Java does otherwise, we do as Python, except for the case of a status. */
export const checkJavaNormalize: Check = row => {
  const java: Readonly<Record<string, Check>> = {
    RUNNING: becomes('RUNNING', {reply_data: 'RUNNING'}),
    WAITING_AGENT: becomes('WAITING_AGENT', {status: 'WAITING_AGENT'}),
    '{status=completed, content=x}': becomes({status: 'completed', content: 'x'}, {content: 'x'}),
    '{final_answer=x}': becomes({final_answer: 'x'}, {content: 'x'}),
    '{replyData=1}': becomes({replyData: 1}, {reply_data: 1}),
  };
  (java[String(row.input)] ?? asPython)(row);
};

export const checkTypescriptNormalize: Check = row => {
  if (row.name === 'normalize.undefined') {
    becomes(undefined, {})(row); // R24: TypeScript fails here, so its handlers can not return what callAgent gave them.
    return;
  }
  const {finalAnswer: _unused, ...result} = asDoc(at(row.expected, 'ok'));
  expect(normalizeResult(row.input)).toEqual(result);
};
