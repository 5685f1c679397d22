import {BaseCommand} from '../../src/cli/base-command.js';
import {outputFlag} from '../../src/cli/flags.js';

export default class RegistryAgents extends BaseCommand {
  static override summary = 'List agent types and who serves them.';
  static override flags = {output: outputFlag('table', 'json', 'name')};

  async run() {
    await this.parse(RegistryAgents);
    const [{listAgentTypes}, {showAgentTypes}] = await Promise.all([
      import('../../src/registry/listing.js'),
      import('../../src/cli/show-workers.js'),
    ]);
    const agentTypes = await listAgentTypes(await this.openStore());
    showAgentTypes(this.printer, agentTypes, this.output);
    return {agentTypes};
  }
}
