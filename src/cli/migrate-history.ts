/** `by history migrate`. */
import type {HistorySettings} from '../config/history.js';
import {ByError} from '../errors.js';
import {migratePostgresHistory, migrationSql, plannedPostgresMigration} from '../history/postgres.js';
import {paint, type Printer} from './printer.js';

/** An index over many messages takes its time; what hangs is ended with --timeout. */
const CONNECT_MS = 10_000;

/** @throws {ByError} INVALID_CONFIG if history is not kept in PostgreSQL, HISTORY_UNAVAILABLE, HISTORY_SCHEMA. */
export async function migrateHistory(
  printer: Printer,
  settings: HistorySettings,
  {dryRun}: {readonly dryRun: boolean},
) {
  if (settings.backend !== 'postgres') {
    throw new ByError(
      'INVALID_CONFIG',
      `History is kept in ${settings.backend === 'off' ? 'nothing' : settings.backend} here (${settings.source}), which has no schema.`,
      {
        hint: 'Name a database: BY_HISTORY_URL=postgres://user@host:5432/database (the URL may carry a password).',
      },
    );
  }
  const place = {url: settings.url, timeoutMs: CONNECT_MS};
  const {from, to, migrations} = await (dryRun ? plannedPostgresMigration : migratePostgresHistory)(place);
  const sql = migrationSql(migrations);
  if (dryRun) printer.raw(sql);
  else
    for (const {version, name} of migrations)
      printer.out(paint.green(printer.symbol('ok')), ` ${version}  ${name}`);
  printer.endStream();
  printer.note(paint.dim(summary(from, to, dryRun)));
  return {
    ...{from, to, dryRun},
    migrations: migrations.map(({version, name}) => ({version, name})),
    ...(dryRun ? {sql} : {}),
  };
}

function summary(from: number, to: number, dryRun: boolean): string {
  if (from === to) return `The schema is at version ${to}; nothing to do.`;
  return `The schema ${dryRun ? 'would go' : 'went'} from version ${from} to ${to}.`;
}
