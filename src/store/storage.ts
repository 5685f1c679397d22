/** What a library keeps for a session beside records and journal: named fields, written under the fence of an attempt. */
import {ByError} from '../errors.js';
import {isValidId} from '../ids.js';
import {SESSION_TTL_S} from '../protocol/keys.js';
import {defineScript} from './script.js';
import type {Store} from './store.js';

/** Fields with text. Gone a week after the last write. */
export interface Storage {
  /** Names of all fields, in no order. */
  names(): Promise<string[]>;
  /** @returns the values in the order of the names; undefined for what is not there. */
  read(names: readonly string[]): Promise<(string | undefined)[]>;
  /**
   * All of it or nothing; what is removed goes first.
   * @throws {ByError} FENCED once another attempt owns the execution; MESSAGE_TOO_LARGE over 16 MiB, or 10,000 fields.
   */
  write(fields: Readonly<Record<string, string>>, removed?: readonly string[]): Promise<void>;
  /** Forget everything. @throws {ByError} FENCED */
  clear(): Promise<void>;
}

export interface StoragePlace {
  readonly sessionId: string;
  /** What it is for: one name, one hash. */
  readonly name: string;
  /** Who writes; absent: nobody's execution, and no fence. */
  readonly turn?: {readonly executionId: string; readonly fence: string};
}

const MAX_FIELDS = 10_000;
const MAX_WRITE_BYTES = 16 * 1024 * 1024;
const RETRY = {retryForMs: 30_000};

const writeScript = defineScript({
  file: 'storage-write.lua',
  keys: ['registry', 'storage'],
  args: ['executionId', 'fence', 'ttlS', 'maxFields', 'removed'],
  reply: raw => (raw === 'ok' || raw === 'full' ? raw : 'fenced'),
});

export function openStorage(store: Store, {sessionId, name, turn}: StoragePlace): Storage {
  if (!isValidId(sessionId) || !isValidId(name)) {
    throw new ByError(
      'INVALID_INPUT',
      `"${name.slice(0, 80)}" of "${sessionId.slice(0, 80)}" can not be a storage.`,
      {
        hint: 'Use letters, digits and . _ : @ - for both (at most 128, beginning with a letter or digit).',
      },
    );
  }
  const key = store.keys.storage(sessionId, name);
  const write = async (fields: Readonly<Record<string, string>>, removed: readonly string[] = []) => {
    const pairs = Object.entries(fields).flat();
    const bytes = pairs.reduce((sum, text) => sum + Buffer.byteLength(text), 0);
    if (bytes > MAX_WRITE_BYTES)
      throw tooLarge(`${bytes} bytes in one write; ${MAX_WRITE_BYTES} are the most.`);
    const verdict = await writeScript(
      store.commands,
      {
        keys: {registry: store.keys.sessionRegistry(sessionId), storage: key},
        args: {
          ...{executionId: turn?.executionId ?? '', fence: turn?.fence ?? ''},
          ...{ttlS: SESSION_TTL_S, maxFields: MAX_FIELDS, removed: removed.length},
        },
        moreArgs: [...removed, ...pairs],
      },
      RETRY,
    );
    if (verdict === 'full') throw tooLarge(`it would have more than ${MAX_FIELDS} fields.`);
    if (verdict === 'fenced') {
      throw new ByError('FENCED', 'This attempt does not own its execution any more.', {
        hint: 'Stop: what it writes is refused.',
      });
    }
  };
  const names = () => store.commands.run(redis => redis.hkeys(key), RETRY);
  return {
    names,
    read: async wanted => {
      if (wanted.length === 0) return [];
      const values = await store.commands.run(redis => redis.hmget(key, ...wanted), RETRY);
      return values.map(value => value ?? undefined);
    },
    write,
    clear: async () => write({}, await names()),
  };

  function tooLarge(why: string): ByError {
    return new ByError(
      'MESSAGE_TOO_LARGE',
      `What "${name}" keeps of session "${sessionId}" is too large: ${why}`,
      {
        hint: 'Keep less, or remove what is old.',
      },
    );
  }
}
