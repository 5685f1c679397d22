import * as Args from '@oclif/core/args';
import * as Flags from '@oclif/core/flags';
import {BaseCommand} from '../../src/cli/base-command.js';

export default class PendingDrop extends BaseCommand {
  static override summary = 'Give up pending deliveries: nobody will be given them any more.';
  static override description = `The whole command goes to the dead letters with who gave it up and why, and can be replayed from there; its
execution ends FAILED with DELIVERY_DROPPED. To end it without a dead letter, use \`by cancel\`.`;
  static override examples = [
    '<%= config.bin %> pending drop exec-5d10 --reason "sent twice"',
    '<%= config.bin %> pending drop --agent legacy_bot --reason "is not coming back" --yes',
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
    reason: Flags.string({description: 'why; kept in the dead letter and the record', required: true}),
    'dry-run': Flags.boolean({description: 'show what would go, and do nothing'}),
  };

  async run() {
    const {argv, flags} = await this.parse(PendingDrop);
    const {dropForPeople} = await import('../../src/cli/pending.js');
    return dropForPeople(await this.openStore(), this.printer, {
      ids: argv as string[],
      agentType: flags.agent,
      limit: flags.limit,
      reason: flags.reason,
      dryRun: flags['dry-run'],
      signal: this.signal,
      confirm: question => this.confirm(question),
    });
  }
}
