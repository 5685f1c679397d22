import {PGlite} from '@electric-sql/pglite';
import {afterAll, beforeAll, describe, expect, test} from 'vitest';
import {MIGRATIONS, MIGRATIONS_TABLE} from '../../src/history/migrations.js';
import {
  migratePostgresHistory,
  migrationSql,
  plannedPostgresMigration,
  postgresHistory,
  singleSession,
} from '../../src/history/postgres.js';
import {startPostgres, withClient, type PostgresServer} from '../support/postgres-server.js';

describe('migrating the history’s database', () => {
  let server: PostgresServer;
  beforeAll(async () => {
    server = await startPostgres();
  });
  afterAll(() => server.stop());

  const tables = (url: string) =>
    withClient(url, async client => {
      const {rows} = await client.query<{name: string}>(
        `SELECT tablename AS name FROM pg_tables WHERE schemaname = 'public' ORDER BY 1`,
      );
      return rows.map(({name}) => name);
    });
  const versions = (url: string) =>
    withClient(url, async client => {
      const {rows} = await client.query<{version: number}>(
        `SELECT version FROM ${MIGRATIONS_TABLE} ORDER BY version`,
      );
      return rows.map(({version}) => version);
    });
  const ALL = MIGRATIONS.map(({version}) => version);

  test('makes what is missing, once, and says what it did', async () => {
    const url = await server.createDatabase();
    expect(await migratePostgresHistory({url})).toMatchObject({from: 0, to: 2, migrations: MIGRATIONS});
    expect(await tables(url)).toEqual([MIGRATIONS_TABLE, 'gateway_session_messages']);
    expect(await migratePostgresHistory({url})).toMatchObject({from: 2, to: 2, migrations: []});
    expect(await versions(url)).toEqual(ALL);
  });

  test('may be run by ten at once, also while another SDK makes the same table', async () => {
    const url = await server.createDatabase();
    const sdk = withClient(url, client =>
      client
        .query(String(MIGRATIONS[0]?.statements.join(';\n')))
        // It knows no lock, and may come second.
        .catch(() => undefined),
    );
    const done = await Promise.all(Array.from({length: 10}, () => migratePostgresHistory({url})));
    await sdk;
    expect(done.filter(({from}) => from === 0)).toHaveLength(1);
    expect(await versions(url)).toEqual(ALL);
  });

  test('keeps the messages another SDK has saved', async () => {
    const url = await server.createDatabase();
    await withClient(url, async client => {
      for (const statement of MIGRATIONS[0]?.statements ?? []) await client.query(statement);
      await client.query(
        `INSERT INTO gateway_session_messages (session_id, role, content) VALUES ('s', 'user', 'old')`,
      );
    });
    await migratePostgresHistory({url});
    const history = postgresHistory({url});
    expect(await history.getHistory('s')).toMatchObject([{content: 'old'}]);
    await history.close();
  });

  test('leaves all as it was if a step fails, and refuses a table that is something else', async () => {
    const url = await server.createDatabase();
    await withClient(url, client => client.query('CREATE TABLE gateway_session_messages (id INTEGER)'));
    await expect(migratePostgresHistory({url})).rejects.toMatchObject({code: 'HISTORY_SCHEMA'});
    expect(await tables(url)).toEqual(['gateway_session_messages']);
  });

  test('refuses a database that a newer program has migrated', async () => {
    const url = await server.createDatabase();
    await migratePostgresHistory({url});
    await withClient(url, client =>
      client.query(`INSERT INTO ${MIGRATIONS_TABLE} (version, name) VALUES (999, 'of the future')`),
    );
    for (const act of [migratePostgresHistory, plannedPostgresMigration])
      await expect(act({url})).rejects.toMatchObject({
        code: 'HISTORY_SCHEMA',
        message: expect.stringContaining('999') as string,
      });
  });

  test('says beforehand what it would do, writes nothing, and its SQL does the same', async () => {
    const url = await server.createDatabase();
    const plan = await plannedPostgresMigration({url});
    expect(plan).toMatchObject({from: 0, to: 2, migrations: MIGRATIONS});
    expect(await tables(url)).toEqual([]);
    await withClient(url, client => client.query(migrationSql(plan.migrations)));
    expect(await plannedPostgresMigration({url})).toMatchObject({from: 2, migrations: []});
    expect(migrationSql([])).toBe('');
  });

  test('works with a client of one’s own', async () => {
    const client = new PGlite();
    const database = singleSession(client);
    const done = await Promise.all([migratePostgresHistory({database}), migratePostgresHistory({database})]);
    expect(done.map(({from}) => from)).toEqual([0, 2]);
    await client.close();
    // PostgreSQL in WebAssembly takes its time to start on a busy machine.
  }, 120_000);
});
