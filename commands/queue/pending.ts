import * as Args from '@oclif/core/args';
import * as Flags from '@oclif/core/flags';
import {BaseCommand} from '../../src/cli/base-command.js';
import {durationFlag, groupFlag, outputFlag} from '../../src/cli/flags.js';

export default class QueuePending extends BaseCommand {
  static override summary = 'List entries that workers were given and have not settled, oldest first.';
  static override description = `IDLE is how long ago the entry was given out, GIVEN how often. A long IDLE with a worker that is online is work that
runs for long; with one that is not, it is work somebody has to take up: workers of this toolkit do so by themselves.`;
  static override examples = [
    '<%= config.bin %> queue pending translator --min-idle 1m',
    '<%= config.bin %> queue pending translator --consumer worker-2',
  ];
  static override args = {type: Args.string({required: true, description: 'agent type'})};
  static override flags = {
    'min-idle': durationFlag({description: 'only given out at least this long ago', default: 0}),
    consumer: Flags.string({description: 'only with this consumer or worker', helpValue: 'NAME'}),
    limit: Flags.integer({description: 'most entries', default: 50, min: 1, max: 1000}),
    group: groupFlag(),
    output: outputFlag('table', 'json', 'name'),
  };

  async run() {
    const {args, flags} = await this.parse(QueuePending);
    const {pendingForPeople} = await import('../../src/cli/queues.js');
    return pendingForPeople(await this.openStore(), this.printer, this.output, args.type, {
      minIdleMs: flags['min-idle'],
      consumer: flags.consumer,
      limit: flags.limit,
      group: flags.group,
    });
  }
}
