import * as Flags from '@oclif/core/flags';
import {LocalCommand} from '../../src/cli/local-command.js';

export default class HistoryMigrate extends LocalCommand {
  static override summary =
    'Make the tables in which history is kept, or bring them to their newest version.';
  static override description = `For history in PostgreSQL: the address is BY_HISTORY_URL, BYAI_HISTORY_PG_DSN, or \`history\` of by.config.
All of it is done or nothing. It may be run again, and by several at once; tables that another SDK made stay as they are.
--dry-run prints the SQL that is missing, for whoever runs it by hand.`;
  static override examples = [
    'BY_HISTORY_URL=postgres://app@db:5432/agents <%= config.bin %> history migrate',
    '<%= config.bin %> history migrate --dry-run > history.sql',
  ];
  static override flags = {
    'dry-run': Flags.boolean({description: 'print the SQL, and change nothing'}),
  };

  async run() {
    const {flags} = await this.parse(HistoryMigrate);
    const [{migrateHistory}, {historySettings}] = await Promise.all([
      import('../../src/cli/migrate-history.js'),
      import('../../src/cli/history-settings.js'),
    ]);
    return migrateHistory(this.printer, await historySettings(), {dryRun: flags['dry-run']});
  }
}
