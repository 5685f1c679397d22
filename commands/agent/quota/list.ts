import {BaseCommand} from '../../../src/cli/base-command.js';
import {outputFlag} from '../../../src/cli/flags.js';

export default class AgentQuotaList extends BaseCommand {
  static override summary = 'List quotas: users that may not send, and limits with what of them is used.';
  static override description = 'Walks the keys of the server.';
  static override examples = ['<%= config.bin %> agent quota list'];
  static override flags = {output: outputFlag('table', 'json', 'name')};

  async run() {
    await this.parse(AgentQuotaList);
    const {listQuotas} = await import('../../../src/cli/admission.js');
    return listQuotas(await this.openStore(), this.printer, this.output);
  }
}
