import * as Args from '@oclif/core/args';
import * as Flags from '@oclif/core/flags';
import {BaseCommand} from '../../../src/cli/base-command.js';
import {dryRunFlag, durationFlag} from '../../../src/cli/flags.js';

export default class AgentCircuitOpen extends BaseCommand {
  static override summary = 'Open a circuit: everything sent to the agent type is turned away.';
  static override description = `Every policy is refused with AGENT_CIRCUIT_OPEN, also by the routers of the other SDKs. What was accepted before
still runs. The reason is shown to those who are turned away.`;
  static override examples = [
    '<%= config.bin %> agent circuit open ocr --reason "model is down, INC-12" --for 10m',
  ];
  static override args = {type: Args.string({required: true, description: 'agent type'})};
  static override flags = {
    reason: Flags.string({description: 'why; shown to those who are turned away', required: true}),
    for: durationFlag({description: 'close by itself after this long; default: stay until it is closed'}),
    'dry-run': dryRunFlag(),
  };

  async run() {
    const {args, flags} = await this.parse(AgentCircuitOpen);
    const {openCircuit} = await import('../../../src/cli/admission.js');
    return openCircuit(await this.openStore(), this.printer, args.type, {
      reason: flags.reason,
      forMs: flags.for,
      dryRun: flags['dry-run'],
      confirm: question => this.confirm(question),
    });
  }
}
