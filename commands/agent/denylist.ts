import * as Args from '@oclif/core/args';
import {BaseCommand} from '../../src/cli/base-command.js';
import {outputFlag} from '../../src/cli/flags.js';

export default class AgentDenylist extends BaseCommand {
  static override summary = 'List the workers that are barred from an agent type.';
  static override description = 'Without an agent type all are listed; that walks the keys of the server.';
  static override aliases = ['type:denylist'];
  static override examples = ['<%= config.bin %> agent denylist ocr'];
  static override args = {type: Args.string({description: 'agent type'})};
  static override flags = {output: outputFlag('table', 'json', 'name')};

  async run() {
    const {args} = await this.parse(AgentDenylist);
    const {showDenylist} = await import('../../src/cli/denylist.js');
    return showDenylist(await this.openStore(), this.printer, this.output, args.type);
  }
}
