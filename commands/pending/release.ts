import * as Args from '@oclif/core/args';
import * as Flags from '@oclif/core/flags';
import {BaseCommand} from '../../src/cli/base-command.js';

export default class PendingRelease extends BaseCommand {
  static override summary = 'Put pending deliveries on the queue now, though nobody may be online.';
  static override description = `Each goes onto the queue of its agent type, once whoever else releases it. Where nobody is online it is asked first:
what is on the queue waits there without a deadline, also for workers of other SDKs.`;
  static override examples = [
    '<%= config.bin %> pending release exec-5d10',
    '<%= config.bin %> pending release --agent ocr --limit 10 --yes',
  ];
  static override args = {
    delivery: Args.string({
      multiple: true,
      description: 'entries of `by pending list`, executions or messages',
    }),
  };
  static override flags = {
    agent: Flags.string({char: 'a', description: 'the next ones of this agent type', helpValue: 'TYPE'}),
    limit: Flags.integer({description: 'with --agent: most deliveries', default: 100, min: 1, max: 1000}),
    'dry-run': Flags.boolean({description: 'show what would be released, and do nothing'}),
  };

  async run() {
    const {argv, flags} = await this.parse(PendingRelease);
    const {releaseForPeople} = await import('../../src/cli/pending.js');
    return releaseForPeople(await this.openStore(), this.printer, {
      ids: argv as string[],
      agentType: flags.agent,
      limit: flags.limit,
      dryRun: flags['dry-run'],
      signal: this.signal,
      confirm: question => this.confirm(question),
    });
  }
}
