import * as Args from '@oclif/core/args';
import {BaseCommand} from '../../src/cli/base-command.js';
import {dryRunFlag} from '../../src/cli/flags.js';

export default class AgentAllow extends BaseCommand {
  static override summary = 'Let workers serve an agent type again.';
  static override description = `They come back by themselves with their next heartbeat.`;
  static override aliases = ['type:allow'];
  static override examples = ['<%= config.bin %> agent allow ocr worker-7'];
  static override args = {
    type: Args.string({required: true, description: 'agent type'}),
    worker: Args.string({multiple: true, required: true, description: 'worker ids'}),
  };
  static override flags = {
    'dry-run': dryRunFlag(),
  };

  async run() {
    const {args, argv, flags} = await this.parse(AgentAllow);
    const {allowWorkers} = await import('../../src/cli/denylist.js');
    return allowWorkers(await this.openStore(), this.printer, {
      agentType: args.type,
      workerIds: (argv as string[]).slice(1),
      dryRun: flags['dry-run'],
    });
  }
}
