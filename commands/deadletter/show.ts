import * as Args from '@oclif/core/args';
import {BaseCommand} from '../../src/cli/base-command.js';

export default class DeadletterShow extends BaseCommand {
  static override summary = 'Show one dead letter: the whole command, and what happened to it.';
  static override aliases = ['dlq:show'];
  static override args = {id: Args.string({required: true, description: 'id from `by deadletter list`'})};

  async run() {
    const {args} = await this.parse(DeadletterShow);
    const {showForPeople} = await import('../../src/cli/dead-letters.js');
    return showForPeople(await this.openStore(), this.printer, args.id);
  }
}
