import * as Args from '@oclif/core/args';
import {BaseCommand} from '../../src/cli/base-command.js';
import {dryRunFlag} from '../../src/cli/flags.js';

export default class WorkerRejoin extends BaseCommand {
  static override summary = 'Let evicted workers start again.';
  static override description = `It starts nothing: whoever runs the worker does.`;
  static override examples = ['<%= config.bin %> worker rejoin worker-tr-1'];
  static override args = {worker: Args.string({multiple: true, required: true, description: 'worker ids'})};
  static override flags = {
    'dry-run': dryRunFlag(),
  };

  async run() {
    const {argv, flags} = await this.parse(WorkerRejoin);
    const {administer} = await import('../../src/cli/worker-admin.js');
    return administer(await this.openStore(), this.printer, {
      action: 'rejoin',
      workerIds: argv as string[],
      reason: '',
      force: false,
      wait: false,
      dryRun: flags['dry-run'],
      signal: this.signal,
      confirm: question => this.confirm(question),
    });
  }
}
