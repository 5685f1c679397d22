/** History in Redis, beside the sessions: the newest messages of each, for as long as a session is kept. */
import {ByError} from '../errors.js';
import {parseEnvelope, readable} from '../protocol/limits.js';
import {
  addMessage,
  lastMessages,
  MAX_HISTORY_BYTES,
  MAX_HISTORY_MESSAGES,
  sessionsWithHistory,
} from '../store/session-history.js';
import type {Store} from '../store/store.js';
import {
  checkedLimit,
  checkedMessage,
  checkedSessionLimit,
  checkSession,
  type HistoryBackend,
} from './backend.js';
import {toMessage} from './stored-message.js';

export interface RedisHistoryOptions {
  /** Messages of one session that are kept; the oldest goes first. Default 200. */
  readonly maxMessages?: number;
  /** Bytes of one session's messages. Default 4 MiB. */
  readonly maxBytes?: number;
  /** Most keys to look at on each server when sessions are listed, roughly: there is no index. Default 100,000. */
  readonly look?: number;
}

/** Messages in the server of a store. Closing it leaves the store open: it is whoever's opened it. */
export function redisHistory(store: Store, options: RedisHistoryOptions = {}): HistoryBackend {
  const {maxMessages = MAX_HISTORY_MESSAGES, maxBytes = MAX_HISTORY_BYTES, look = 100_000} = options;
  return {
    name: 'redis',
    async getHistory(sessionId, limit) {
      checkSession(sessionId);
      const most = checkedLimit(limit);
      const found = await known(() => lastMessages(store, sessionId, most));
      return found.map(({at, document}) => toMessage(readable(() => parseEnvelope(document)) ?? {}, at));
    },
    async saveMessage(...given) {
      const message = checkedMessage(...given);
      if (message === undefined) return;
      const {sessionId, key, role, content, metadata} = message;
      const document = JSON.stringify({role, content, metadata});
      await known(() => addMessage(store, sessionId, {key, document}, {maxMessages, maxBytes}));
    },
    async listSessions(limit) {
      const most = checkedSessionLimit(limit);
      const found = await known(() => sessionsWithHistory(store, look));
      return found
        .sort((a, b) => b.lastActiveAt - a.lastActiveAt || (a.sessionId < b.sessionId ? -1 : 1))
        .slice(0, most);
    },
    close: () => Promise.resolve(),
  };
}

async function known<T>(act: () => Promise<T>): Promise<T> {
  try {
    return await act();
  } catch (error) {
    if (!(error instanceof ByError) || !error.retryable) throw error;
    throw new ByError('HISTORY_UNAVAILABLE', `The history in Redis can not be reached: ${error.message}`, {
      hint: error.hint,
      cause: error,
    });
  }
}
