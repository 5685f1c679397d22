/**
 * What was said in a session, as far as Redis kept it: for sessions without a history. Answers and questions are in the
 * session's events. What people said is kept only by the journals of durable agents: of others it is known that it was.
 */
import {askUserPrompt, eventKind, eventText, type DataEvent} from '../protocol/events.js';
import {readCommandEntry, type Content} from '../protocol/commands.js';
import type {ExecutionRecord} from '../protocol/execution.js';
import type {Journal} from '../protocol/journal.js';
import {isObject, readable} from '../protocol/limits.js';
import {announcedQuestion} from '../protocol/question.js';
import {followSession} from '../store/data-streams.js';
import {sessionExecutions} from '../store/executions.js';
import {readJournal} from '../store/journal.js';
import type {Store} from '../store/store.js';

export interface SaidMessage {
  readonly role: 'user' | 'assistant' | 'system' | 'tool';
  /** null: something was said, and nobody kept what. */
  readonly content: Content | null;
  /** `question` and `reply` belong together by `metadata.question_id`. */
  readonly kind: 'message' | 'question' | 'reply';
  /** Unix milliseconds, by Redis's clock. */
  readonly at: number;
  readonly metadata: Readonly<Record<string, unknown>>;
}

/** Everything, oldest first. */
export async function messagesInEvents(store: Store, sessionId: string): Promise<SaidMessage[]> {
  const records = await sessionExecutions(store, sessionId);
  const spoken = new Spoken();
  for await (const item of followSession(store, sessionId, {untilCaughtUp: true}))
    if (item.kind === 'event') spoken.hear(item.event, Number(item.id.split('-')[0]));
  const people: SaidMessage[] = [];
  for (const record of records) {
    const journal = await readJournal(store, record);
    people.push(...asked(record, journal, spoken.firstHeard(record.messageId)), ...replied(record, journal));
  }
  // Those of one moment stay in this order: who asks comes before who answers.
  return [...people, ...spoken.messages()].sort((a, b) => a.at - b.at);
}

/** What agents said: pieces of an answer are one message until the agent asks, or has ended. */
class Spoken {
  private readonly done: SaidMessage[] = [];
  private readonly open = new Map<string, {text: string; readonly at: number; readonly agentType: string}>();
  private readonly first = new Map<string, number>();

  hear(event: DataEvent, at: number): void {
    const {messageId} = event;
    if (!this.first.has(messageId)) this.first.set(messageId, at);
    switch (eventKind(event)) {
      case 'answer':
        this.add(event, at);
        break;
      case 'final':
        this.conclude(event, at);
        break;
      case 'ask':
        this.end(messageId);
        this.done.push(questionIn(event, at));
        break;
      case 'end':
        this.end(messageId);
        break;
      case 'reasoning':
      case 'state':
      case 'artifact':
      case 'other':
    }
  }

  firstHeard(messageId: string): number {
    return this.first.get(messageId) ?? Infinity;
  }

  messages(): SaidMessage[] {
    for (const messageId of [...this.open.keys()]) this.end(messageId);
    return this.done;
  }

  private add(event: DataEvent, at: number): void {
    const {messageId, sourceAgentType} = event;
    const said = this.open.get(messageId) ?? {text: '', at, agentType: sourceAgentType};
    said.text += eventText(event);
    this.open.set(messageId, said);
  }

  /** Most results repeat what was said piece by piece. */
  private conclude(event: DataEvent, at: number): void {
    const {messageId} = event;
    const isRepeated = this.open.get(messageId)?.text.includes(eventText(event)) === true;
    this.end(messageId);
    if (isRepeated) return;
    this.add(event, at);
    this.end(messageId);
  }

  private end(messageId: string): void {
    const said = this.open.get(messageId);
    this.open.delete(messageId);
    if (said === undefined || said.text === '') return;
    this.done.push({
      ...{role: 'assistant', kind: 'message', content: said.text, at: said.at},
      metadata: {message_id: messageId, agent_id: said.agentType},
    });
  }
}

function questionIn(event: DataEvent, at: number): SaidMessage {
  const {questionId} = announcedQuestion(event.metadata);
  return {
    ...{role: 'assistant', kind: 'question', content: askUserPrompt(event)?.prompt ?? eventText(event), at},
    metadata: {
      ...{message_id: event.messageId, agent_id: event.sourceAgentType},
      ...(questionId === '' ? {} : {question_id: questionId}),
    },
  };
}

/** What began an execution that no agent called. */
function asked(record: ExecutionRecord, journal: Journal, firstHeard: number): SaidMessage[] {
  if (record.parentMessageId !== '') return [];
  const {messageId, targetAgentType, redisMessageId = '', createdAt} = record;
  const metadata = {message_id: messageId, agent_id: targetAgentType};
  const began = journal.ask === '' ? undefined : readable(() => readCommandEntry(journal.ask));
  const content = began?.action === 'ASK_AGENT' ? began.content : null;
  const at = Math.min(Number(redisMessageId.split('-')[0]) || createdAt, firstHeard);
  const ask: SaidMessage = {role: 'user', kind: 'message', content, at, metadata};
  if (began?.action !== 'RESUME') return [ask];
  return [ask, {...ask, content: began.content, at: journal.since}];
}

/** What people answered to a durable agent's questions. */
function replied(record: ExecutionRecord, {entries, outcomes}: Journal): SaidMessage[] {
  return [...entries].flatMap(([index, {kind, messageId}]): SaidMessage[] => {
    const outcome = outcomes.get(index);
    if (kind !== 'ask-user' || outcome === undefined || outcome.value.status === 'EXPIRED') return [];
    const {content, data} = outcome.value;
    const metadata = {message_id: record.messageId, question_id: messageId};
    const said = isContent(content) && content.length > 0 ? content : JSON.stringify(data);
    return [{role: 'user', kind: 'reply', content: said, at: outcome.at, metadata}];
  });
}

const isContent = (value: unknown): value is Content =>
  typeof value === 'string' || (Array.isArray(value) && value.every(isObject));
