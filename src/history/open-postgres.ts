/** A database by its address, through `pg`, which is loaded when it is first needed. The only user of `pg`. */
import type * as Pg from 'pg';
import {ByError} from '../errors.js';
import type {SqlDatabase, SqlSession} from './sql.js';

export interface PostgresOptions {
  /** `postgres://user:password@host:port/database`. May hold a password: never print it. */
  readonly url: string;
  /** Milliseconds for connecting, and for each query. Default 5,000. */
  readonly timeoutMs?: number;
  /** Connections at once. Default 4. */
  readonly maxConnections?: number;
}

/** Connects with the first query. */
export function openPostgres(options: PostgresOptions): SqlDatabase {
  const {url, timeoutMs = 5000, maxConnections = 4} = options;
  const connection = {
    connectionString: url,
    connectionTimeoutMillis: timeoutMs,
    application_name: 'by-history',
  };
  let pool: Promise<Pg.Pool> | undefined;
  let isClosed = false;
  const opened = () =>
    (pool ??= loadPg().then(({Pool: PgPool}) => {
      const made = new PgPool({
        ...connection,
        query_timeout: timeoutMs,
        max: maxConnections,
        idleTimeoutMillis: 30_000,
        allowExitOnIdle: true,
      });
      // Of a connection that nobody uses: it is replaced when one is needed, and what can not be is said then.
      made.on('error', () => undefined);
      return made;
    }));
  return {
    query: async (text, values) => {
      if (isClosed) throw closed();
      return (await opened()).query<Record<string, unknown>>(text, values);
    },
    async withSession(act) {
      const {Client: PgClient} = await loadPg();
      const client = new PgClient(connection);
      client.on('error', () => undefined);
      try {
        await client.connect();
        return await act(sessionOf(client));
      } finally {
        await client.end().catch(() => undefined);
      }
    },
    async close() {
      isClosed = true;
      await (await pool)?.end();
    },
  };
}

const sessionOf = (client: Pg.Client): SqlSession => ({
  query: (text, values) => client.query<Record<string, unknown>>(text, values),
});

/** @throws {ByError} INVALID_CONFIG if `pg` is not installed. */
export async function requirePg(): Promise<void> {
  await loadPg();
}

async function loadPg(): Promise<typeof Pg> {
  try {
    const module = await import('pg');
    // It is CommonJS: its exports may come as the default.
    return 'default' in module ? (module.default as typeof Pg) : module;
  } catch (cause) {
    throw new ByError('INVALID_CONFIG', 'History in PostgreSQL needs the package "pg", which is not there.', {
      hint: 'Install it beside by-toolkit: npm install pg',
      cause,
    });
  }
}

const closed = () =>
  new ByError('HISTORY_UNAVAILABLE', 'The history was closed.', {hint: 'Close it after its last use.'});
