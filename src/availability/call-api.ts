/** One request to the API of a platform that runs workers: JSON both ways, bounded in time and size, never sent on. */
import {request as httpRequest, type IncomingMessage} from 'node:http';
import {request as httpsRequest, type RequestOptions} from 'node:https';
import {isObject} from '../protocol/limits.js';

export interface ApiCall {
  readonly isTls: boolean;
  /** Where to: socket path, or host and port, with what TLS needs. */
  readonly to: RequestOptions;
  readonly method: 'GET' | 'POST' | 'PATCH' | 'DELETE';
  /** With its query; what is put into it is encoded. */
  readonly path: string;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: unknown;
  readonly signal: AbortSignal;
}

export interface ApiAnswer {
  readonly status: number;
  /** Empty if the answer held no JSON object. */
  readonly body: Readonly<Record<string, unknown>>;
}

const TIMEOUT_MS = 10_000;
/** Bytes of an answer that are read. */
const MAX_ANSWER_BYTES = 1_048_576;

/** @throws what the connection fails with, or that there was no answer in time. */
export function callApi({isTls, to, method, path, headers, body, signal}: ApiCall): Promise<ApiAnswer> {
  const text = body === undefined ? '' : JSON.stringify(body);
  const deadline = AbortSignal.any([signal, AbortSignal.timeout(TIMEOUT_MS)]);
  const options = {
    ...to,
    method,
    path,
    agent: false,
    signal: deadline,
    headers: {
      accept: 'application/json',
      ...(body === undefined ? {} : {'content-type': 'application/json'}),
      'content-length': Buffer.byteLength(text),
      ...headers,
    },
  };
  return new Promise((resolve, reject) => {
    const onError = (error: unknown) =>
      reject(deadline.aborted ? new Error('there was no answer in time', {cause: error}) : (error as Error));
    const onAnswer = (answer: IncomingMessage) => void readJson(answer).then(resolve, onError);
    const sent = isTls ? httpsRequest(options, onAnswer) : httpRequest(options, onAnswer);
    sent.on('error', onError);
    sent.end(text);
  });
}

async function readJson(answer: IncomingMessage): Promise<ApiAnswer> {
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    for await (const chunk of answer as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size > MAX_ANSWER_BYTES) throw new Error(`the answer is longer than ${MAX_ANSWER_BYTES} bytes`);
      chunks.push(chunk);
    }
  } finally {
    answer.destroy();
  }
  return {status: answer.statusCode ?? 0, body: objectIn(Buffer.concat(chunks).toString('utf8'))};
}

function objectIn(text: string): Record<string, unknown> {
  try {
    const doc: unknown = JSON.parse(text);
    return isObject(doc) ? doc : {};
  } catch {
    // An error page, or nothing: the status says enough.
    return {};
  }
}

/** The API's own words about a failure, cut. */
export const messageIn = ({body}: ApiAnswer): string =>
  typeof body['message'] === 'string' ? `: ${body['message'].slice(0, 300)}` : '';
