import * as Args from '@oclif/core/args';
import * as Flags from '@oclif/core/flags';
import {BaseCommand} from '../../src/cli/base-command.js';
import {dryRunFlag} from '../../src/cli/flags.js';

export default class WorkerResume extends BaseCommand {
  static override summary = 'Let suspended workers take work again.';
  static override description = `For one that was evicted there is \`by worker rejoin\`.`;
  static override examples = ['<%= config.bin %> worker resume worker-tr-1'];
  static override args = {worker: Args.string({multiple: true, required: true, description: 'worker ids'})};
  static override flags = {
    wait: Flags.boolean({description: 'until the workers have heard of it; --timeout bounds it'}),
    'dry-run': dryRunFlag(),
  };

  async run() {
    const {argv, flags} = await this.parse(WorkerResume);
    const {administer} = await import('../../src/cli/worker-admin.js');
    return administer(await this.openStore(), this.printer, {
      action: 'resume',
      workerIds: argv as string[],
      reason: '',
      force: false,
      wait: flags.wait,
      dryRun: flags['dry-run'],
      signal: this.signal,
      confirm: question => this.confirm(question),
    });
  }
}
