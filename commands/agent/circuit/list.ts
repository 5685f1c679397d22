import {BaseCommand} from '../../../src/cli/base-command.js';
import {outputFlag} from '../../../src/cli/flags.js';

export default class AgentCircuitList extends BaseCommand {
  static override summary = 'List circuits: agent types that sending to is stopped.';
  static override description = 'Walks the keys of the server.';
  static override examples = ['<%= config.bin %> agent circuit list'];
  static override flags = {output: outputFlag('table', 'json', 'name')};

  async run() {
    await this.parse(AgentCircuitList);
    const {listCircuits} = await import('../../../src/cli/admission.js');
    return listCircuits(await this.openStore(), this.printer, this.output);
  }
}
