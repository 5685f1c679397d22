import * as Args from '@oclif/core/args';
import {BaseCommand} from '../../src/cli/base-command.js';
import {dryRunFlag} from '../../src/cli/flags.js';

export default class AgentDeny extends BaseCommand {
  static override summary = 'Bar workers from an agent type; they go on serving their others.';
  static override description = `Holds until \`by agent allow\`. A worker hears of it with its next heartbeat, within a few seconds; what it runs goes on.`;
  static override aliases = ['type:deny'];
  static override examples = ['<%= config.bin %> agent deny ocr worker-7'];
  static override args = {
    type: Args.string({required: true, description: 'agent type'}),
    worker: Args.string({multiple: true, required: true, description: 'worker ids'}),
  };
  static override flags = {
    'dry-run': dryRunFlag(),
  };

  async run() {
    const {args, argv, flags} = await this.parse(AgentDeny);
    const {denyWorkers} = await import('../../src/cli/denylist.js');
    return denyWorkers(await this.openStore(), this.printer, {
      agentType: args.type,
      workerIds: (argv as string[]).slice(1),
      dryRun: flags['dry-run'],
    });
  }
}
