import * as Args from '@oclif/core/args';
import * as Flags from '@oclif/core/flags';
import {BaseCommand} from '../../../src/cli/base-command.js';
import {durationFlag} from '../../../src/cli/flags.js';

export default class AgentQuotaSet extends BaseCommand {
  static override summary = 'Say that the quota of a user is used up, or is not.';
  static override description = `While it is used up everything the user sends is refused with TENANT_QUOTA_EXCEEDED, also by the routers of the
other SDKs. What was accepted before still runs.`;
  static override examples = [
    '<%= config.bin %> agent quota set u-42 --off --reason "monthly cap" --for 2d',
    '<%= config.bin %> agent quota set u-42 --on',
  ];
  static override args = {user: Args.string({required: true, description: 'user code'})};
  static override flags = {
    off: Flags.boolean({description: 'used up: turn the user away', exactlyOne: ['off', 'on']}),
    on: Flags.boolean({description: 'available'}),
    reason: Flags.string({description: 'why; shown to those who are turned away', default: ''}),
    for: durationFlag({description: 'end by itself after this long; default: stay until it is cleared'}),
    'dry-run': Flags.boolean({description: 'say what would be done, and do nothing'}),
  };

  async run() {
    const {args, flags} = await this.parse(AgentQuotaSet);
    const {changeQuota} = await import('../../../src/cli/admission.js');
    return changeQuota(await this.openStore(), this.printer, args.user, {
      available: !flags.off,
      reason: flags.reason,
      forMs: flags.for,
      dryRun: flags['dry-run'],
      confirm: question => this.confirm(question),
    });
  }
}
