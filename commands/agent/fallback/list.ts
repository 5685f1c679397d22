import {BaseCommand} from '../../../src/cli/base-command.js';
import {outputFlag} from '../../../src/cli/flags.js';

export default class AgentFallbackList extends BaseCommand {
  static override summary = 'List fallbacks: who stands in for whom.';
  static override description = 'Walks the keys of the server.';
  static override examples = ['<%= config.bin %> agent fallback list'];
  static override flags = {output: outputFlag('table', 'json', 'name')};

  async run() {
    await this.parse(AgentFallbackList);
    const {listFallbacks} = await import('../../../src/cli/admission.js');
    return listFallbacks(await this.openStore(), this.printer, this.output);
  }
}
