import * as Args from '@oclif/core/args';
import {BaseCommand} from '../../../src/cli/base-command.js';

export default class AgentFallbackClear extends BaseCommand {
  static override summary = 'Remove a fallback: nobody stands in any more.';
  static override examples = ['<%= config.bin %> agent fallback clear ocr'];
  static override args = {type: Args.string({required: true, description: 'agent type'})};

  async run() {
    const {args} = await this.parse(AgentFallbackClear);
    const {removeFallback} = await import('../../../src/cli/admission.js');
    return removeFallback(await this.openStore(), this.printer, args.type);
  }
}
