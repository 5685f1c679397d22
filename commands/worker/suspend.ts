import * as Args from '@oclif/core/args';
import * as Flags from '@oclif/core/flags';
import {BaseCommand} from '../../src/cli/base-command.js';
import {dryRunFlag} from '../../src/cli/flags.js';

export default class WorkerSuspend extends BaseCommand {
  static override summary = 'Let workers take nothing new; what they run goes on.';
  static override description = `Holds until \`by worker resume\`, also over restarts. Workers of every SDK obey. A suspended worker keeps its id, and takes what
is addressed to it alone (\`by send --worker\`).`;
  static override examples = ['<%= config.bin %> worker suspend worker-tr-1 --reason "deploy 214" --wait'];
  static override args = {worker: Args.string({multiple: true, required: true, description: 'worker ids'})};
  static override flags = {
    reason: Flags.string({description: 'why; shown with the worker', default: ''}),
    wait: Flags.boolean({description: 'until the workers take nothing new; --timeout bounds it'}),
    'dry-run': dryRunFlag(),
  };

  async run() {
    const {argv, flags} = await this.parse(WorkerSuspend);
    const {administer} = await import('../../src/cli/worker-admin.js');
    return administer(await this.openStore(), this.printer, {
      action: 'suspend',
      workerIds: argv as string[],
      reason: flags.reason,
      force: false,
      wait: flags.wait,
      dryRun: flags['dry-run'],
      signal: this.signal,
      confirm: question => this.confirm(question),
    });
  }
}
