import * as Args from '@oclif/core/args';
import {BaseCommand} from '../../../src/cli/base-command.js';

export default class AgentCircuitClose extends BaseCommand {
  static override summary = 'Close a circuit: the agent type may be sent to again.';
  static override examples = ['<%= config.bin %> agent circuit close ocr'];
  static override args = {type: Args.string({required: true, description: 'agent type'})};

  async run() {
    const {args} = await this.parse(AgentCircuitClose);
    const {closeCircuit} = await import('../../../src/cli/admission.js');
    return closeCircuit(await this.openStore(), this.printer, args.type);
  }
}
