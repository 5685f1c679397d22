import * as Flags from '@oclif/core/flags';
import * as Args from '@oclif/core/args';
import {BaseCommand} from '../../src/cli/base-command.js';
import {durationFlag, groupFlag} from '../../src/cli/flags.js';

export default class QueueClaim extends BaseCommand {
  static override summary = 'Take pending entries from whoever has them, and give them to somebody else.';
  static override description = `Without --to any worker of this toolkit that serves the agent type takes them up. Workers of the other SDKs read only
new entries, whoever they are given to. It is asked first when a worker that has some of them is online, because it may
be running them; workers of this toolkit never run one entry twice at once, those of other SDKs may.`;
  static override examples = [
    '<%= config.bin %> queue claim translator --consumer worker-2 --dry-run',
    '<%= config.bin %> queue claim translator 1716123456789-0 --to worker-3 --min-idle 5m',
  ];
  static override args = {
    type: Args.string({required: true, description: 'agent type'}),
    entry: Args.string({
      multiple: true,
      description: 'entries from `by queue pending`; all that fit the flags without them',
    }),
  };
  static override flags = {
    to: Flags.string({
      description: 'a consumer of the queue, or a worker with only one; default: any worker',
      helpValue: 'NAME',
    }),
    consumer: Flags.string({description: 'only those of this consumer or worker', helpValue: 'NAME'}),
    'min-idle': durationFlag({description: 'only given out at least this long ago', default: 60_000}),
    limit: Flags.integer({description: 'most entries', default: 100, min: 1, max: 1000}),
    'dry-run': Flags.boolean({description: 'show what would be claimed, and do nothing'}),
    group: groupFlag(),
  };

  async run() {
    const {args, argv, flags} = await this.parse(QueueClaim);
    const {claimForPeople} = await import('../../src/cli/queue-actions.js');
    return claimForPeople(await this.openStore(), this.printer, args.type, {
      ids: (argv as string[]).slice(1),
      to: flags.to,
      consumer: flags.consumer,
      minIdleMs: flags['min-idle'],
      limit: flags.limit,
      group: flags.group,
      dryRun: flags['dry-run'],
      confirm: question => this.confirm(question),
    });
  }
}
