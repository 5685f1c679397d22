/**
 * by-toolkit/postgres: history in PostgreSQL, in the table that other SDKs use too (spec §9.2). The client library is a
 * peer of this package: install `pg` beside it. The table is made by `by history migrate`, or {@link migratePostgresHistory}.
 */
import {ByError, messageOf} from '../errors.js';
import {parseUntrusted, readable} from '../protocol/limits.js';
import {
  checkedLimit,
  checkedMessage,
  checkedSessionLimit,
  checkSession,
  type HistoryBackend,
  type HistoryMessage,
  type NewMessage,
} from './backend.js';
import {migrate, MESSAGES_TABLE, planned, type Migrated} from './migrations.js';
import {openPostgres, type PostgresOptions} from './open-postgres.js';
import type {SqlDatabase} from './sql.js';
import {toMessage} from './stored-message.js';

export type {HistoryBackend, HistoryMessage, HistoryRole, HistorySession} from './backend.js';
export {migrationSql, type Migrated, type Migration} from './migrations.js';
export {singleSession, type SqlDatabase, type SqlSession} from './sql.js';
export type {PostgresOptions} from './open-postgres.js';

/** Where the tables are: an address, or a client of your own, which stays yours to close. */
export type PostgresPlace = PostgresOptions | {readonly database: SqlDatabase};

/** Messages in PostgreSQL. Connects with the first call. */
export function postgresHistory(place: PostgresPlace): HistoryBackend {
  return new PostgresHistory(opened(place), 'url' in place);
}

/**
 * Make the tables, or bring them to their newest version: all of it or nothing. Safe to repeat, and beside others.
 * @throws {ByError} HISTORY_UNAVAILABLE, HISTORY_SCHEMA; INVALID_CONFIG if `pg` is not installed.
 */
export const migratePostgresHistory = (place: PostgresPlace): Promise<Migrated> =>
  withDatabase(place, migrate);

/** What {@link migratePostgresHistory} would do now. Writes nothing. @throws {ByError} as it does. */
export const plannedPostgresMigration = (place: PostgresPlace): Promise<Migrated> =>
  withDatabase(place, planned);

function opened(place: PostgresPlace): SqlDatabase {
  return 'url' in place ? openPostgres(place) : place.database;
}

async function withDatabase<T>(place: PostgresPlace, act: (database: SqlDatabase) => Promise<T>): Promise<T> {
  const database = opened(place);
  try {
    return await known(() => act(database));
  } finally {
    if ('url' in place) await database.close();
  }
}

/** Says in its metadata that content is JSON; other SDKs show it as text. */
const CONTENT_FORM = 'by_content';

const INSERT = `INSERT INTO ${MESSAGES_TABLE} (session_id, role, content, metadata)
  VALUES ($1, $2, $3, $4::jsonb)`;

/** Where nobody has made our index, the look is all there is; where it is, it serves the look. */
const INSERT_ONCE = `INSERT INTO ${MESSAGES_TABLE} (session_id, role, content, metadata)
  SELECT $1::varchar, $2::varchar, $3::text, $4::jsonb
  WHERE NOT EXISTS (
    SELECT 1 FROM ${MESSAGES_TABLE}
    WHERE session_id = $1::varchar AND metadata ? 'by_key' AND metadata ->> 'by_key' = $5::text
  )
  ON CONFLICT DO NOTHING`;

const NEWEST = `SELECT role, content, metadata, extract(epoch FROM created_at)::float8 * 1000 AS at
  FROM ${MESSAGES_TABLE} WHERE session_id = $1 ORDER BY created_at DESC, id DESC LIMIT $2`;

const SESSIONS = `SELECT session_id, extract(epoch FROM max(created_at))::float8 * 1000 AS last_active_at,
  count(*)::int AS message_count
  FROM ${MESSAGES_TABLE} GROUP BY session_id ORDER BY max(created_at) DESC, session_id LIMIT $1`;

class PostgresHistory implements HistoryBackend {
  readonly name = 'postgres';

  constructor(
    private readonly database: SqlDatabase,
    private readonly isOurs: boolean,
  ) {}

  async getHistory(sessionId: string, limit?: number): Promise<HistoryMessage[]> {
    checkSession(sessionId);
    const most = checkedLimit(limit);
    const {rows} = await known(() => this.database.query(NEWEST, [sessionId, most]));
    return rows.reverse().map(fromRow);
  }

  async saveMessage(...given: Parameters<HistoryBackend['saveMessage']>): Promise<void> {
    const message = checkedMessage(...given);
    if (message === undefined) return;
    const {key} = message;
    const values = toRow(message);
    await known(() =>
      key === '' ? this.database.query(INSERT, values) : this.database.query(INSERT_ONCE, [...values, key]),
    );
  }

  async listSessions(limit?: number) {
    const most = checkedSessionLimit(limit);
    const {rows} = await known(() => this.database.query(SESSIONS, [most]));
    return rows.map(row => ({
      sessionId: String(row['session_id']),
      lastActiveAt: Math.round(Number(row['last_active_at'])),
      messageCount: Number(row['message_count']),
    }));
  }

  async close(): Promise<void> {
    if (this.isOurs) await this.database.close();
  }
}

function toRow({sessionId, role, content, metadata}: NewMessage): string[] {
  if (typeof content === 'string') return [sessionId, role, content, JSON.stringify(metadata)];
  const noted = {...metadata, [CONTENT_FORM]: 'json'};
  return [sessionId, role, JSON.stringify(content), JSON.stringify(noted)];
}

function fromRow({at, ...row}: Record<string, unknown>): HistoryMessage {
  const message = toMessage(row, Math.round(Number(at)));
  const {[CONTENT_FORM]: form, ...metadata} = message.metadata;
  if (form !== 'json') return message;
  const text = String(row['content']);
  const content = readable(() => parseUntrusted(text)) ?? text;
  return toMessage({...row, content, metadata}, message.at);
}

/** An error of the client or the server as one of ours. Their texts name hosts, users and tables, never a password. */
async function known<T>(act: () => Promise<T>): Promise<T> {
  try {
    return await act();
  } catch (error) {
    if (error instanceof ByError) throw error;
    throw inOurWords(error);
  }
}

/** undefined_table, undefined_column, invalid_text_representation of a column of another type. */
const NOT_OURS: ReadonlySet<string> = new Set(['42P01', '42703']);

function inOurWords(error: unknown): ByError {
  const {code = ''} = error as {code?: string};
  const text =
    error instanceof AggregateError && error.message === '' ? messageOf(error.errors[0]) : messageOf(error);
  if (NOT_OURS.has(code))
    return new ByError('HISTORY_SCHEMA', `The database has no tables for history: ${text}`, {
      hint: 'Make them: by history migrate',
      cause: error,
    });
  return new ByError('HISTORY_UNAVAILABLE', `PostgreSQL does not keep history now: ${text}`, {
    hint: 'See whether the server runs, and whether the address, the user and its rights are right.',
    cause: error,
  });
}
