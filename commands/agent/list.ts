import {BaseCommand} from '../../src/cli/base-command.js';
import {outputFlag} from '../../src/cli/flags.js';

export default class AgentList extends BaseCommand {
  static override summary = 'List agent types: who serves them, and what keeps commands from them.';
  static override description =
    'Listed are those a known worker declares, or something is held back for; `by agent circuit list` walks all keys.';
  static override examples = ['<%= config.bin %> agent list'];
  static override flags = {output: outputFlag('table', 'json', 'name')};

  async run() {
    await this.parse(AgentList);
    const {listForPeople} = await import('../../src/cli/agents.js');
    return listForPeople(await this.openStore(), this.printer, this.output);
  }
}
