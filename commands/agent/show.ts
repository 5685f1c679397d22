import * as Args from '@oclif/core/args';
import {BaseCommand} from '../../src/cli/base-command.js';

export default class AgentShow extends BaseCommand {
  static override summary = 'Show one agent type: workers, circuit, fallback, queue.';
  static override examples = ['<%= config.bin %> agent show ocr'];
  static override args = {type: Args.string({required: true, description: 'agent type'})};

  async run() {
    const {args} = await this.parse(AgentShow);
    const {showForPeople} = await import('../../src/cli/agents.js');
    return showForPeople(await this.openStore(), this.printer, args.type);
  }
}
