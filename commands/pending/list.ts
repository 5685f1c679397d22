import * as Flags from '@oclif/core/flags';
import {BaseCommand} from '../../src/cli/base-command.js';
import {outputFlag} from '../../src/cli/flags.js';

export default class PendingList extends BaseCommand {
  static override summary = 'List commands held back until somebody of their agent type is online.';
  static override description = `In the order of their release: priority, then age. Arriving is what no manager has taken yet: is one running?
A manager releases by itself as soon as a worker is online, and gives up what waits past its deadline.`;
  static override examples = [
    '<%= config.bin %> pending list',
    '<%= config.bin %> pending list --agent ocr -o name',
  ];
  static override flags = {
    agent: Flags.string({char: 'a', description: 'only for this agent type', helpValue: 'TYPE'}),
    limit: Flags.integer({description: 'most deliveries', default: 50, min: 1, max: 1000}),
    output: outputFlag('table', 'json', 'name'),
  };

  async run() {
    const {flags} = await this.parse(PendingList);
    const {listForPeople} = await import('../../src/cli/pending.js');
    return listForPeople(await this.openStore(), this.printer, this.output, {
      agentType: flags.agent,
      limit: flags.limit,
    });
  }
}
