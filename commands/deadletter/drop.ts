import * as Args from '@oclif/core/args';
import * as Flags from '@oclif/core/flags';
import {BaseCommand} from '../../src/cli/base-command.js';
import {filterFlags, filterOf} from '../../src/cli/dead-letter-flags.js';

export default class DeadletterDrop extends BaseCommand {
  static override summary = 'Delete dead letters for good; the audit keeps who and why.';
  static override aliases = ['dlq:drop'];
  static override examples = [
    '<%= config.bin %> deadletter drop 1716120001-0 --reason "test data"',
    '<%= config.bin %> deadletter drop --replayable no --until 30d --reason "nothing to be done"',
  ];
  static override args = {
    id: Args.string({
      multiple: true,
      description: 'ids from `by deadletter list`; - reads them from standard input',
    }),
  };
  static override flags = {
    all: Flags.boolean({description: 'every entry (see --limit)'}),
    ...filterFlags(),
    'reason-match': Flags.string({
      description: 'only those whose reason matches this regular expression',
      helpValue: 'RE',
    }),
    replayed: Flags.option({
      options: ['no', 'yes', 'all'] as const,
      description: 'only those that were (not) replayed and kept',
    })(),
    limit: Flags.integer({description: 'most entries', default: 100, min: 1, max: 10_000}),
    reason: Flags.string({description: 'why; kept in the audit', required: true}),
    'dry-run': Flags.boolean({description: 'show what would go, and do nothing'}),
  };

  async run() {
    const {argv, flags} = await this.parse(DeadletterDrop);
    const {dropForPeople} = await import('../../src/cli/drop-dead-letters.js');
    const {idsFrom} = await import('../../src/cli/dead-letter-filter.js');
    return dropForPeople(await this.openStore(), this.printer, {
      ids: await idsFrom(argv as string[], () => this.readStdin('The ids')),
      filter: filterOf(flags, {replayed: flags.replayed, reason: flags['reason-match']}),
      // Those that were replayed are a selection too.
      all: flags.all || flags.replayed !== undefined,
      reason: flags.reason,
      dryRun: flags['dry-run'],
      confirm: question => this.confirm(question),
      signal: this.signal,
    });
  }
}
