import * as Flags from '@oclif/core/flags';
import {BaseCommand} from '../../src/cli/base-command.js';
import {filterFlags, filterOf} from '../../src/cli/dead-letter-flags.js';
import {outputFlag} from '../../src/cli/flags.js';

export default class DeadletterList extends BaseCommand {
  static override summary = 'List commands that will not be tried again by themselves, newest first.';
  static override description = `In the column REPLAY: yes; recovered (another SDK wrote it without its command, which was found in the wakeup
stream); no-payload (it was not); replayed (and kept); begun (a replay that is not finished); unreadable.`;
  static override aliases = ['dlq:list'];
  static override examples = [
    '<%= config.bin %> deadletter list --since 24h',
    '<%= config.bin %> deadletter list --reason "timeout|refused" --replayed no',
    '<%= config.bin %> deadletter list --group-by reason',
  ];
  static override flags = {
    ...filterFlags(),
    reason: Flags.string({description: 'only reasons that match this regular expression', helpValue: 'RE'}),
    replayed: Flags.option({
      options: ['no', 'yes', 'all'] as const,
      default: 'all',
      description: 'only those that were (not) replayed and kept',
    })(),
    'group-by': Flags.option({
      options: ['code', 'agent', 'reason'] as const,
      description: 'count them in place of listing them',
    })(),
    limit: Flags.integer({description: 'most entries', default: 50, min: 1, max: 1000}),
    output: outputFlag('table', 'json', 'jsonl', 'name'),
  };

  async run() {
    const {flags} = await this.parse(DeadletterList);
    const {listForPeople} = await import('../../src/cli/dead-letters.js');
    return listForPeople(await this.openStore(), this.printer, {
      filter: filterOf(flags, flags),
      groupBy: flags['group-by'],
      output: this.output,
    });
  }
}
