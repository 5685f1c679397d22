/** `by session messages` and `by session export`. */
import {rename, rm, stat, writeFile} from 'node:fs/promises';
import {ByError, messageOf} from '../errors.js';
import type {HistorySettings} from '../config/history.js';
import {openHistory} from '../history/open.js';
import {messagesInEvents, type SaidMessage} from '../observe/session-messages.js';
import {sessionExists} from '../store/data-streams.js';
import {requireOwn} from '../store/ownership.js';
import type {Store} from '../store/store.js';
import {contentText} from '../worker/agent.js';
import {checkedId} from './ids.js';
import {opaque} from './json.js';
import {paint, type Printer, type Text} from './printer.js';
import {noSuchSession} from './show-executions.js';
import {isoTime} from './time.js';

/** Most messages of one export. */
const MOST = 10_000;

export interface WhichMessages {
  readonly sessionId: string;
  readonly userCode: string;
  readonly history: HistorySettings;
  /** The newest so many. */
  readonly limit: number;
}

interface Found {
  readonly messages: readonly SaidMessage[];
  /** `postgres`, `redis`, or `events`: what is left in the session's events. */
  readonly source: string;
}

/** @throws {ByError} INVALID_INPUT, NOT_FOUND, HISTORY_UNAVAILABLE, HISTORY_SCHEMA. */
export async function messagesForPeople(store: Store, printer: Printer, which: WhichMessages) {
  const {messages, source} = await findMessages(store, which);
  for (const message of messages) {
    printer.out(...headline(message));
    printer.block(bodyOf(message));
    printer.out();
  }
  if (messages.length === 0) printer.note('Nothing was said in it, as far as anybody kept.');
  printer.note(paint.dim(sourceText(source, messages)));
  return {sessionId: which.sessionId, source, messages: messages.map(viewOf)};
}

export type ExportFormat = 'jsonl' | 'json' | 'md';

export interface ExportRequest extends Omit<WhichMessages, 'limit'> {
  readonly format: ExportFormat;
  /** undefined: standard output. */
  readonly file: string | undefined;
  readonly confirm: (question: string) => Promise<boolean>;
}

/** @throws {ByError} as {@link messagesForPeople}; USAGE for a file that is called like a format, CONFLICT if it is not to be replaced. */
export async function exportMessages(store: Store, printer: Printer, request: ExportRequest) {
  const {sessionId, format, file} = request;
  if (file !== undefined) await checkFile(file, request);
  const {messages, source} = await findMessages(store, {...request, limit: MOST});
  const text = exportText(sessionId, messages, format);
  if (file === undefined) printer.raw(text);
  else await writeWhole(file, text);
  printer.endStream();
  if (messages.length >= MOST) printer.warn(`Only the newest ${MOST} messages are in it.`);
  printer.note(
    paint.dim(
      `${messages.length} messages${file === undefined ? '' : ` in ${file}`}; ${sourceText(source, messages)}`,
    ),
  );
  const result = {sessionId, source, format, count: messages.length};
  return file === undefined ? {...result, messages: messages.map(viewOf)} : {...result, file};
}

async function findMessages(
  store: Store,
  {sessionId, userCode, history, limit}: WhichMessages,
): Promise<Found> {
  checkedId(sessionId, 'session id');
  await requireOwn(store, sessionId, userCode);
  const kept = await inHistory(store, sessionId, history, limit);
  if (kept.length > 0) return {messages: kept, source: history.backend};
  const messages = (await messagesInEvents(store, sessionId)).slice(-limit);
  if (messages.length === 0 && !(await sessionExists(store, sessionId))) throw noSuchSession(sessionId);
  return {messages, source: 'events'};
}

/** None where history is in the memory of workers, or nowhere. */
async function inHistory(
  store: Store,
  sessionId: string,
  settings: HistorySettings,
  limit: number,
): Promise<SaidMessage[]> {
  if (settings.backend === 'memory' || settings.backend === 'off') return [];
  const history = await openHistory(settings, store.options);
  try {
    const messages = (await history?.getHistory(sessionId, limit)) ?? [];
    return messages.map(message => ({...message, kind: 'message'}));
  } finally {
    await history?.close();
  }
}

function headline({role, kind, at, metadata}: SaidMessage): Text[] {
  const name = role === 'user' ? paint.cyan(role) : paint.green(role);
  const facts = [kind === 'message' ? '' : kind, agentOf(role, metadata), isoTime(at)];
  return [name, '  ', paint.dim(facts.filter(fact => fact !== '').join('  '))];
}

function agentOf(role: string, {agent_id: agent}: SaidMessage['metadata']): string {
  if (typeof agent !== 'string' || agent === '') return '';
  return role === 'user' ? `to ${agent}` : agent;
}

function bodyOf({content}: SaidMessage): string {
  if (content === null) return '(not kept)';
  const text = contentText(content);
  return text === '' && typeof content !== 'string' ? JSON.stringify(content) : text;
}

function sourceText(source: string, messages: readonly SaidMessage[]): string {
  if (source !== 'events') return `from the history in ${source}`;
  const isMissing = messages.some(({content}) => content === null);
  return `rebuilt from the session's events${isMissing ? '; what people asked is kept where BY_HISTORY is redis or postgres' : ''}`;
}

const viewOf = ({metadata, content, ...message}: SaidMessage) => ({
  ...message,
  content: opaque(content),
  metadata: opaque(metadata),
});

/** Programs get what was said as it was; Markdown is for people. */
export function exportText(
  sessionId: string,
  messages: readonly SaidMessage[],
  format: ExportFormat,
): string {
  const documents = messages.map(({role, kind, content, at, metadata}) => ({
    ...{session_id: sessionId, role, kind, content, at, metadata},
  }));
  switch (format) {
    case 'jsonl':
      return documents.map(document => `${JSON.stringify(document)}\n`).join('');
    case 'json':
      return `${JSON.stringify(documents, null, 2)}\n`;
    case 'md':
      return markdown(sessionId, messages);
  }
}

function markdown(sessionId: string, messages: readonly SaidMessage[]): string {
  const parts = messages.map(message => {
    const {role, kind, at, metadata} = message;
    const facts = [kind === 'message' ? '' : kind, agentOf(role, metadata), isoTime(at)];
    return `## ${role}\n\n_${facts.filter(fact => fact !== '').join(' · ')}_\n\n${bodyOf(message).trim()}\n`;
  });
  return [`# Session ${sessionId}\n`, ...parts].join('\n');
}

/** Forms of output that people mean when they name them as a file. */
const FORMS: readonly string[] = ['json', 'jsonl', 'md', 'table', 'raw', 'name'];

async function checkFile(file: string, {confirm}: ExportRequest): Promise<void> {
  if (FORMS.includes(file))
    throw new ByError('USAGE', `-o names a file here, and "${file}" looks like a format.`, {
      hint: `Write --format ${file === 'json' || file === 'md' ? file : 'jsonl'}; for a file of that name -o ./${file}.`,
    });
  const there = await stat(file).catch(() => undefined);
  if (there === undefined) return;
  if (!there.isFile())
    throw new ByError('CONFLICT', `${file} is there, and is no file.`, {hint: 'Name another file.'});
  if (!(await confirm(`Replace ${file}?`)))
    throw new ByError('CONFLICT', `${file} is there already.`, {hint: 'Name another file, or add --yes.'});
}

/** Whole or not at all; for its owner alone, because conversations are private. */
async function writeWhole(file: string, text: string): Promise<void> {
  const aside = `${file}.${process.pid}.tmp`;
  try {
    await writeFile(aside, text, {mode: 0o600, flag: 'wx'});
    await rename(aside, file);
  } catch (error) {
    await rm(aside, {force: true});
    throw new ByError('INVALID_INPUT', `${file} can not be written: ${messageOf(error)}`, {
      hint: 'Name a file in a folder that exists and that you may write to.',
      cause: error,
    });
  }
}
