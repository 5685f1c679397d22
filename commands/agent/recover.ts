import * as Args from '@oclif/core/args';
import * as Flags from '@oclif/core/flags';
import {BaseCommand} from '../../src/cli/base-command.js';

export default class AgentRecover extends BaseCommand {
  static override summary = 'Say that a quota is there again before its time.';
  static override examples = ['<%= config.bin %> agent recover wr-1 --note "card was replaced"'];
  static override args = {worker: Args.string({required: true, description: 'worker id'})};
  static override flags = {
    note: Flags.string({description: 'why; kept with it', required: true}),
    scope: Flags.string({
      description: 'what was used up, where it was not all of the worker',
      default: '*',
      helpValue: 'NAME',
    }),
  };

  async run() {
    const {args, flags} = await this.parse(AgentRecover);
    const {recoverWorker} = await import('../../src/cli/exhaust-worker.js');
    return recoverWorker(await this.openStore(), this.printer, {
      ...{workerId: args.worker, note: flags.note, scope: flags.scope},
    });
  }
}
