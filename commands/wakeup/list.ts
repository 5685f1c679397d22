import * as Flags from '@oclif/core/flags';
import {BaseCommand} from '../../src/cli/base-command.js';
import {outputFlag} from '../../src/cli/flags.js';

export default class WakeupList extends BaseCommand {
  static override summary = 'List wakeups under way: who is asked for, who carries it out, how many wait.';
  static override description = `Oldest first. A wakeup that waits was read by no manager yet: is one running? All requests for the same agent type,
user and region are one wakeup: the first leads, the others wait with it.`;
  static override examples = [
    '<%= config.bin %> wakeup list',
    '<%= config.bin %> wakeup list --agent ocr --json',
  ];
  static override flags = {
    agent: Flags.string({char: 'a', description: 'only for this agent type', helpValue: 'TYPE'}),
    limit: Flags.integer({description: 'most requests', default: 50, min: 1, max: 1000}),
    output: outputFlag('table', 'json', 'name'),
  };

  async run() {
    const {flags} = await this.parse(WakeupList);
    const {listForPeople} = await import('../../src/cli/wakeups.js');
    return listForPeople(await this.openStore(), this.printer, this.output, {
      agentType: flags.agent,
      limit: flags.limit,
    });
  }
}
