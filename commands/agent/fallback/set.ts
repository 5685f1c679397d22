import * as Args from '@oclif/core/args';
import {BaseCommand} from '../../../src/cli/base-command.js';
import {dryRunFlag, durationFlag} from '../../../src/cli/flags.js';

export default class AgentFallbackSet extends BaseCommand {
  static override summary = 'Name the agent type that takes commands while this one is offline.';
  static override description = 'It stands in only while a worker of it is online, for all SDKs.';
  static override examples = ['<%= config.bin %> agent fallback set ocr ocr_lite --for 1h'];
  static override args = {
    type: Args.string({required: true, description: 'agent type'}),
    other: Args.string({required: true, description: 'the agent type that stands in'}),
  };
  static override flags = {
    for: durationFlag({description: 'end by itself after this long; default: stay until it is cleared'}),
    'dry-run': dryRunFlag(),
  };

  async run() {
    const {args, flags} = await this.parse(AgentFallbackSet);
    const {changeFallback} = await import('../../../src/cli/admission.js');
    return changeFallback(await this.openStore(), this.printer, args.type, args.other, {
      forMs: flags.for,
      dryRun: flags['dry-run'],
    });
  }
}
