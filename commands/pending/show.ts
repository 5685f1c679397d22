import * as Args from '@oclif/core/args';
import {BaseCommand} from '../../src/cli/base-command.js';

export default class PendingShow extends BaseCommand {
  static override summary = 'Show one pending delivery with its command.';
  static override examples = [
    '<%= config.bin %> pending show 1716123456789-0',
    '<%= config.bin %> pending show exec-5d10',
  ];
  static override args = {
    delivery: Args.string({
      required: true,
      description: 'an entry of `by pending list`, an execution or a message',
    }),
  };

  async run() {
    const {args} = await this.parse(PendingShow);
    const {showForPeople} = await import('../../src/cli/pending.js');
    return showForPeople(await this.openStore(), this.printer, args.delivery);
  }
}
