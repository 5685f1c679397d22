import * as Args from '@oclif/core/args';
import {BaseCommand} from '../../src/cli/base-command.js';

export default class WakeupShow extends BaseCommand {
  static override summary = 'Show one wakeup: the request, who waits, what was decided.';
  static override examples = ['<%= config.bin %> wakeup show exec-5d10'];
  static override args = {
    wakeup: Args.string({
      required: true,
      description: 'an execution that waits, or an entry of `by wakeup list`',
    }),
  };

  async run() {
    const {args} = await this.parse(WakeupShow);
    const {showForPeople} = await import('../../src/cli/wakeups.js');
    return showForPeople(await this.openStore(), this.printer, args.wakeup);
  }
}
