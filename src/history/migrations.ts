/**
 * The tables of history in PostgreSQL, and how they become what they are. The first is shared with other SDKs, which may
 * have made it: its columns are theirs (spec §9.2). What is ours is told by our own table. A migration is never changed once
 * it was released; a new one is added.
 */
import {ByError} from '../errors.js';
import {inTransaction, type SqlDatabase, type SqlSession} from './sql.js';

export interface Migration {
  readonly version: number;
  /** For people. */
  readonly name: string;
  readonly statements: readonly string[];
}

export const MESSAGES_TABLE = 'gateway_session_messages';
export const MIGRATIONS_TABLE = 'by_history_migrations';

export const MIGRATIONS: readonly Migration[] = [
  {
    version: 1,
    name: 'messages of sessions, shared with other SDKs',
    statements: [
      `CREATE TABLE IF NOT EXISTS ${MESSAGES_TABLE} (
  id BIGSERIAL PRIMARY KEY,
  session_id VARCHAR(128) NOT NULL,
  role VARCHAR(32) NOT NULL CHECK (role IN ('user', 'assistant', 'system', 'tool')),
  content TEXT NOT NULL,
  metadata JSONB NOT NULL DEFAULT '{}',
  created_at TIMESTAMPTZ NOT NULL DEFAULT now()
)`,
      `CREATE INDEX IF NOT EXISTS idx_${MESSAGES_TABLE}_session
  ON ${MESSAGES_TABLE} (session_id, created_at DESC, id DESC)`,
    ],
  },
  {
    version: 2,
    name: 'a message that is saved again is saved once',
    statements: [
      `CREATE UNIQUE INDEX IF NOT EXISTS by_${MESSAGES_TABLE}_key
  ON ${MESSAGES_TABLE} (session_id, (metadata ->> 'by_key'))
  WHERE metadata ? 'by_key'`,
    ],
  },
];

/** One program at a time migrates a database; the number is ours alone. */
const LOCK = 7_264_003_871;
const LOCK_WAIT_MS = 60_000;

const OWN_TABLE = `CREATE TABLE IF NOT EXISTS ${MIGRATIONS_TABLE} (
  version INTEGER PRIMARY KEY,
  name TEXT NOT NULL,
  applied_at TIMESTAMPTZ NOT NULL DEFAULT now()
)`;

export interface Migrated {
  /** The version the database had; 0 for none. */
  readonly from: number;
  readonly to: number;
  /** What was applied, or would be. */
  readonly migrations: readonly Migration[];
}

/**
 * Bring the schema to its newest version, all of it or nothing. Safe to repeat, and beside others who do the same.
 * @throws {ByError} HISTORY_SCHEMA if the database is newer than this program, or has another table of that name.
 */
export async function migrate(database: SqlDatabase): Promise<Migrated> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await inTransaction(database, applyMissing);
    } catch (error) {
      // Other SDKs make the same table without our lock: two that do so at once meet in PostgreSQL's own tables.
      if (attempt >= 3 || !MADE_MEANWHILE.has(String((error as {code?: unknown}).code))) throw error;
    }
  }
}

/** unique_violation and duplicate_table. */
const MADE_MEANWHILE: ReadonlySet<string> = new Set(['23505', '42P07']);

async function applyMissing(session: SqlSession): Promise<Migrated> {
  await session.query(`SET LOCAL lock_timeout = ${LOCK_WAIT_MS}`);
  // An index over many messages takes its time.
  await session.query('SET LOCAL statement_timeout = 0');
  await session.query('SELECT pg_advisory_xact_lock($1)', [LOCK]);
  await session.query(OWN_TABLE);
  const plan = await planned(session);
  for (const {version, name, statements} of plan.migrations) {
    for (const statement of statements) await session.query(statement);
    await session.query(`INSERT INTO ${MIGRATIONS_TABLE} (version, name) VALUES ($1, $2)`, [version, name]);
  }
  // A table of that name may have been made for something else.
  await session.query(
    `SELECT id, session_id, role, content, metadata, created_at FROM ${MESSAGES_TABLE} LIMIT 0`,
  );
  return plan;
}

/** What {@link migrate} would do now. Writes nothing. */
export async function planned(session: SqlSession): Promise<Migrated> {
  const from = await schemaVersion(session);
  const newest = MIGRATIONS.at(-1)?.version ?? 0;
  if (from > newest)
    throw new ByError(
      'HISTORY_SCHEMA',
      `The history's schema has version ${from}, and ${newest} is the newest known here.`,
      {
        hint: 'Upgrade by-toolkit: a newer one has migrated this database.',
      },
    );
  return {from, to: newest, migrations: MIGRATIONS.filter(({version}) => version > from)};
}

async function schemaVersion(session: SqlSession): Promise<number> {
  const {rows: there} = await session.query('SELECT to_regclass($1) IS NOT NULL AS found', [
    MIGRATIONS_TABLE,
  ]);
  if (there[0]?.['found'] !== true) return 0;
  const {rows} = await session.query(
    `SELECT coalesce(max(version), 0)::int AS version FROM ${MIGRATIONS_TABLE}`,
  );
  return Number(rows[0]?.['version'] ?? 0);
}

/** The SQL of migrations as it is run, for people and for tools of their own. */
export function migrationSql(migrations: readonly Migration[]): string {
  if (migrations.length === 0) return '';
  const steps = migrations.flatMap(({version, name, statements}) => [
    `-- ${version}: ${name}`,
    ...statements,
    `INSERT INTO ${MIGRATIONS_TABLE} (version, name) VALUES (${version}, '${name.replaceAll("'", "''")}')`,
  ]);
  const all = ['BEGIN', `SELECT pg_advisory_xact_lock(${LOCK})`, OWN_TABLE, ...steps, 'COMMIT'];
  return `${all.map(line => (line.startsWith('--') ? line : `${line};`)).join('\n')}\n`;
}
