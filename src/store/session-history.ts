/** What was said in a session, in Redis: a hash in the session's slot, bounded by messages, bytes and lifetime. */
import {SESSION_TTL_S} from '../protocol/keys.js';
import {isValidId} from '../ids.js';
import {defineScript, flag} from './script.js';
import {walkKeys, type Store} from './store.js';

/** Messages of one session that are kept, and their bytes. */
export const MAX_HISTORY_MESSAGES = 200;
export const MAX_HISTORY_BYTES = 4 * 1024 * 1024;

/** Sessions whose facts are asked for in one go. */
const BATCH = 200;

const saveScript = defineScript({
  file: 'save-message.lua',
  keys: ['history'],
  args: ['key', 'document', 'ttlS', 'maxMessages', 'maxBytes'],
  reply: flag,
});

export interface SaveOptions {
  /** Messages and bytes of one session that are kept. */
  readonly maxMessages: number;
  readonly maxBytes: number;
}

/** @param key one line, or ''. @returns false if there is a message with this key. */
export function addMessage(
  store: Store,
  sessionId: string,
  {key, document}: {readonly key: string; readonly document: string},
  {maxMessages, maxBytes}: SaveOptions,
): Promise<boolean> {
  return saveScript(
    store.commands,
    {
      keys: {history: store.keys.history(sessionId)},
      args: {key, document, ttlS: SESSION_TTL_S, maxMessages, maxBytes},
    },
    // With a key it recognises its own repeat.
    key === '' ? {} : {retryForMs: 2000},
  );
}

/** The newest messages, oldest first. */
export async function lastMessages(
  store: Store,
  sessionId: string,
  count: number,
): Promise<{readonly at: number; readonly document: string}[]> {
  const history = store.keys.history(sessionId);
  const RETRY = {retryForMs: 2000};
  const [firstText, lastText] = await store.commands.run(
    redis => redis.hmget(history, 'first', 'last'),
    RETRY,
  );
  const last = Number(lastText ?? 0);
  const first = Math.max(Number(firstText ?? 1), last - count + 1);
  if (last < first) return [];
  const fields = Array.from({length: last - first + 1}, (_, index) => `m:${first + index}`);
  const found = await store.commands.run(redis => redis.hmget(history, ...fields), RETRY);
  // Between the two looks the oldest may have been dropped.
  return found.filter(text => text !== null).map(readMessage);
}

function readMessage(text: string): {readonly at: number; readonly document: string} {
  const afterTime = text.indexOf('\n');
  const afterKey = text.indexOf('\n', afterTime + 1);
  return {at: Number(text.slice(0, afterTime)), document: text.slice(afterKey + 1)};
}

export interface HistoryFacts {
  readonly sessionId: string;
  readonly lastActiveAt: number;
  readonly messageCount: number;
}

/** Sessions that have a history, in no order. There is no index of them: this walks the keys of the server. */
export async function sessionsWithHistory(store: Store, look: number): Promise<HistoryFacts[]> {
  const {keys} = await walkKeys(store, store.keys.historyPattern(), look);
  const ids = [...keys].map(key => store.keys.sessionIdOfHistory(key) ?? '').filter(isValidId);
  const facts: HistoryFacts[] = [];
  for (let from = 0; from < ids.length; from += BATCH) {
    const batch = ids.slice(from, from + BATCH);
    const rows = await store.commands.run(
      redis => Promise.all(batch.map(id => redis.hmget(store.keys.history(id), 'at', 'first', 'last'))),
      {retryForMs: 2000},
    );
    rows.forEach(([at, first, last], index) => {
      // It may have expired between the two looks.
      if (!at || !last) return;
      const messageCount = Number(last) - Number(first ?? 1) + 1;
      facts.push({sessionId: batch[index] ?? '', lastActiveAt: Number(at), messageCount});
    });
  }
  return facts;
}
