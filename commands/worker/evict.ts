import * as Args from '@oclif/core/args';
import * as Flags from '@oclif/core/flags';
import {BaseCommand} from '../../src/cli/base-command.js';
import {dryRunFlag} from '../../src/cli/flags.js';

export default class WorkerEvict extends BaseCommand {
  static override summary = 'Let workers finish what they run, end, and not start again.';
  static override description = `A worker that was evicted refuses to start under its id until \`by worker rejoin\`. With --force running work is aborted at once:
what agent code still writes is refused, and other workers begin it anew; that counts as no failed attempt.`;
  static override examples = [
    '<%= config.bin %> worker evict worker-tr-1 --reason "bad node" --wait',
    '<%= config.bin %> worker evict worker-tr-1 worker-tr-2 --force --yes',
  ];
  static override args = {worker: Args.string({multiple: true, required: true, description: 'worker ids'})};
  static override flags = {
    force: Flags.boolean({description: 'do not wait for running work: abort it, others begin it anew'}),
    reason: Flags.string({description: 'why; shown with the worker', default: ''}),
    wait: Flags.boolean({description: 'until the workers have ended; --timeout bounds it'}),
    'dry-run': dryRunFlag(),
  };

  async run() {
    const {argv, flags} = await this.parse(WorkerEvict);
    const {administer} = await import('../../src/cli/worker-admin.js');
    return administer(await this.openStore(), this.printer, {
      action: 'evict',
      workerIds: argv as string[],
      reason: flags.reason,
      force: flags.force,
      wait: flags.wait,
      dryRun: flags['dry-run'],
      signal: this.signal,
      confirm: question => this.confirm(question),
    });
  }
}
