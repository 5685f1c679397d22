/** What one turn has to do with its session's history: spec §9.2, docs/decisions/0013. */
import {createHash} from 'node:crypto';
import {ByError} from '../errors.js';
import {
  checkedLimit,
  checkedMessage,
  HISTORY_CUT,
  HISTORY_KEY,
  MAX_TEXT_LENGTH,
  type HistoryMessage,
  type HistoryRole,
  type NewMessage,
} from '../history/backend.js';
import type {HistoryAccess} from '../history/saver.js';
import {hasContent, type Content} from '../protocol/commands.js';
import {eventKind, eventText, type DataEvent} from '../protocol/events.js';

/** The history of the session, for agent code. Without one nothing is saved, and nothing is there. */
export interface SessionHistory {
  /**
   * The newest messages, oldest first; what this turn was asked is among them. @param limit from 1 to 10,000. Default 10.
   * @throws {ByError} HISTORY_UNAVAILABLE, which is tried again like any error that may pass; INVALID_INPUT.
   */
  get(limit?: number): Promise<HistoryMessage[]>;
  /**
   * Add a message: what was asked, and what this turn says, is saved without it. Resolves when it was saved, or can not be
   * now, which fails nothing. The same message of an attempt that is tried again is saved once.
   * @throws {ByError} INVALID_INPUT, MESSAGE_TOO_LARGE.
   */
  save(role: HistoryRole, content: Content, metadata?: Readonly<Record<string, unknown>>): Promise<void>;
}

export interface HistoryTurn {
  readonly sessionId: string;
  readonly executionId: string;
  /** The entry that began the turn: the same for every attempt. */
  readonly entryId: string;
  readonly traceId: string;
  readonly agentType: string;
  readonly messageId: string;
  readonly parentMessageId: string;
  /** What a sub-agent says goes as reasoning to the person, and is its answer all the same. */
  readonly subAgent: boolean;
}

export class TurnHistory implements SessionHistory {
  private said = '';
  private isCut = false;
  /** How often each message was saved, so that the same text twice is two messages. */
  private readonly times = new Map<string, number>();

  constructor(
    private readonly access: HistoryAccess | undefined,
    private readonly turn: HistoryTurn,
  ) {}

  /** The turn begins. */
  saveAsk(content: Content, sourceAgentType: string): void {
    const {sessionId, executionId, messageId, traceId, agentType} = this.turn;
    if (this.access === undefined || !hasContent(content)) return;
    const key = `${executionId}/ask`;
    const metadata: Record<string, unknown> = {
      message_id: messageId,
      trace_id: traceId,
      agent_id: agentType,
      [HISTORY_KEY]: key,
    };
    if (sourceAgentType !== '') metadata['source_agent_type'] = sourceAgentType;
    // The agent holds the same list, and may change it.
    const kept = typeof content === 'string' ? content : structuredClone(content);
    this.access.save({sessionId, role: 'user', content: kept, metadata, key});
  }

  /** Something was emitted: pieces of the answer are kept until the turn ends. */
  hear(event: DataEvent): void {
    if (this.access === undefined || this.isCut) return;
    const kind = eventKind(event);
    if (kind !== 'answer' && !(kind === 'reasoning' && this.turn.subAgent)) return;
    this.said += eventText(event);
    if (this.said.length <= MAX_TEXT_LENGTH) return;
    this.said = this.said.slice(0, MAX_TEXT_LENGTH);
    this.isCut = true;
  }

  /** The turn has ended, and that is written. @param whole its result, for an agent that said nothing on the way. */
  saveAnswer(status: string, whole = ''): void {
    const {sessionId, executionId, entryId, traceId, agentType, messageId, parentMessageId} = this.turn;
    const said = this.said === '' ? whole : this.said;
    if (this.access === undefined || !hasContent(said)) return;
    const key = `${executionId}/${entryId}/answer`;
    const metadata: Record<string, unknown> = {
      trace_id: traceId,
      agent_id: agentType,
      parent_message_id: parentMessageId,
      message_id: messageId,
      [HISTORY_KEY]: key,
    };
    if (status !== 'COMPLETED') metadata['status'] = status;
    if (this.isCut || said.length > MAX_TEXT_LENGTH) metadata[HISTORY_CUT] = true;
    const content = said.slice(0, MAX_TEXT_LENGTH);
    this.access.save({sessionId, role: 'assistant', content, metadata, key});
  }

  async get(limit?: number): Promise<HistoryMessage[]> {
    const most = checkedLimit(limit);
    return this.access === undefined ? [] : this.access.read(this.turn.sessionId, most);
  }

  save(role: HistoryRole, content: Content, metadata: Readonly<Record<string, unknown>> = {}): Promise<void> {
    return this.saveUnder(this.keyOf(this.turn.entryId, role, content), role, content, metadata);
  }

  /** @param key what makes it the same message when it is saved again. */
  async saveUnder(
    key: string,
    role: HistoryRole,
    content: Content,
    metadata: Readonly<Record<string, unknown>>,
  ): Promise<void> {
    const message = this.check(role, content, {[HISTORY_KEY]: key, ...metadata});
    if (message !== undefined) this.access?.save(message);
    await this.access?.settled(this.turn.sessionId);
  }

  /** @throws {ByError} INVALID_INPUT, MESSAGE_TOO_LARGE. */
  check(
    role: HistoryRole,
    content: Content,
    metadata: Readonly<Record<string, unknown>>,
  ): NewMessage | undefined {
    return checkedMessage(this.turn.sessionId, role, content, metadata);
  }

  /** @param part of the execution within which the same message is the same. */
  keyOf(part: string, role: HistoryRole, content: Content): string {
    const digest = createHash('sha256')
      .update(`${role}\n${typeof content === 'string' ? content : textOf(content)}`)
      .digest('hex')
      .slice(0, 16);
    const name = `${part}/${digest}`;
    const time = (this.times.get(name) ?? 0) + 1;
    this.times.set(name, time);
    return `${this.turn.executionId}/${name}/${time}`;
  }
}

function textOf(content: Content): string {
  try {
    return JSON.stringify(content);
  } catch (cause) {
    throw new ByError('INVALID_INPUT', 'The content of a message is no JSON.', {
      hint: 'Save plain JSON values.',
      cause,
    });
  }
}
