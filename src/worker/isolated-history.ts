/** The history of a worker, asked for by a process that runs one execution for it. */
import {ByError, messageOf, type ErrorCode} from '../errors.js';
import type {HistoryMessage} from '../history/backend.js';
import type {HistoryAccess, MessageToSave} from '../history/saver.js';

export interface HistoryRequest {
  readonly kind: 'history';
  /** Names the answer. */
  readonly id: number;
  readonly ask:
    | {readonly kind: 'save'; readonly message: MessageToSave}
    | {readonly kind: 'settled'; readonly sessionId: string}
    | {readonly kind: 'read'; readonly sessionId: string; readonly limit: number | undefined};
}

export interface HistoryAnswer {
  readonly kind: 'history';
  readonly id: number;
  readonly messages: HistoryMessage[];
  readonly error?: {readonly code: ErrorCode; readonly message: string; readonly hint: string};
}

/** The worker's side. */
export async function answerHistory(
  history: HistoryAccess | undefined,
  {id, ask}: HistoryRequest,
  answer: (answer: HistoryAnswer) => void,
): Promise<void> {
  try {
    answer({kind: 'history', id, messages: history === undefined ? [] : await carryOut(history, ask)});
  } catch (error) {
    const {code, hint} = error instanceof ByError ? error : {code: 'INTERNAL' as const, hint: 'See the log.'};
    answer({kind: 'history', id, messages: [], error: {code, message: messageOf(error), hint}});
  }
}

async function carryOut(history: HistoryAccess, ask: HistoryRequest['ask']): Promise<HistoryMessage[]> {
  switch (ask.kind) {
    case 'save':
      history.save(ask.message);
      return [];
    case 'settled':
      await history.settled(ask.sessionId);
      return [];
    case 'read':
      return history.read(ask.sessionId, ask.limit);
  }
}

/** The side of the process. The pipe keeps the order, so a read finds what was saved before it. */
export class HistoryOverPipe implements HistoryAccess {
  private readonly waiting = new Map<number, (answer: HistoryAnswer) => void>();
  private lastId = 0;

  constructor(private readonly tell: (request: HistoryRequest) => void) {}

  save(message: MessageToSave): void {
    this.tell({kind: 'history', id: 0, ask: {kind: 'save', message}});
  }

  async settled(sessionId: string): Promise<void> {
    await this.asked({kind: 'settled', sessionId});
  }

  async read(sessionId: string, limit?: number): Promise<HistoryMessage[]> {
    const {messages, error} = await this.asked({kind: 'read', sessionId, limit});
    if (error !== undefined) throw new ByError(error.code, error.message, {hint: error.hint});
    return messages;
  }

  answered(answer: HistoryAnswer): void {
    this.waiting.get(answer.id)?.(answer);
    this.waiting.delete(answer.id);
  }

  private asked(ask: HistoryRequest['ask']): Promise<HistoryAnswer> {
    const id = ++this.lastId;
    return new Promise(resolve => {
      this.waiting.set(id, resolve);
      this.tell({kind: 'history', id, ask});
    });
  }
}
