import * as Args from '@oclif/core/args';
import {BaseCommand} from '../../src/cli/base-command.js';
import {groupFlag} from '../../src/cli/flags.js';

export default class QueueShow extends BaseCommand {
  static override summary = 'Show one queue: its consumer groups and who reads it.';
  static override examples = ['<%= config.bin %> queue show translator'];
  static override args = {type: Args.string({required: true, description: 'agent type'})};
  static override flags = {group: groupFlag()};

  async run() {
    const {args, flags} = await this.parse(QueueShow);
    const {showForPeople} = await import('../../src/cli/queues.js');
    return showForPeople(await this.openStore(), this.printer, args.type, flags.group);
  }
}
