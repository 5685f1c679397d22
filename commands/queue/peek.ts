import * as Args from '@oclif/core/args';
import * as Flags from '@oclif/core/flags';
import {BaseCommand} from '../../src/cli/base-command.js';
import {groupFlag, outputFlag} from '../../src/cli/flags.js';

export default class QueuePeek extends BaseCommand {
  static override summary = 'Look at the first entries of a queue without taking them.';
  static override examples = [
    '<%= config.bin %> queue peek translator -n 3',
    '<%= config.bin %> queue peek translator --raw | jq .body',
  ];
  static override args = {type: Args.string({required: true, description: 'agent type'})};
  static override flags = {
    count: Flags.integer({char: 'n', description: 'how many entries', default: 10, min: 1, max: 1000}),
    from: Flags.string({description: 'begin with this entry, or the one after it', helpValue: 'ENTRY'}),
    raw: Flags.boolean({description: 'each entry as it came, one a line; escaped in a terminal'}),
    group: groupFlag(),
    output: outputFlag('table', 'json', 'name'),
  };

  async run() {
    const {args, flags} = await this.parse(QueuePeek);
    const {peekForPeople} = await import('../../src/cli/queues.js');
    const {count, from, raw, group} = flags;
    return peekForPeople(await this.openStore(), this.printer, this.output, args.type, {
      ...{count, from, raw, group},
    });
  }
}
