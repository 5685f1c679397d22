import * as Args from '@oclif/core/args';
import * as Flags from '@oclif/core/flags';
import {BaseCommand} from '../../../src/cli/base-command.js';
import {dryRunFlag, durationFlag} from '../../../src/cli/flags.js';

export default class AgentQuotaSet extends BaseCommand {
  static override summary =
    'Limit what a user sends in a window; or say that its quota is used up, or is not.';
  static override description = `With --limit so many commands of the user are accepted in a --window, which begins with the first of them. Commands
sent with by count; once they are used up everything the user sends is refused with TENANT_QUOTA_EXCEEDED until the window
ends, also by the routers of the other SDKs. Setting it again begins a new window.
--off refuses everything until it is cleared. --on ends that, and begins the window of a limit anew. What was accepted
before still runs.`;
  static override examples = [
    '<%= config.bin %> agent quota set u-42 --limit 100 --window 1m',
    '<%= config.bin %> agent quota set u-42 --off --reason "monthly cap" --for 2d',
    '<%= config.bin %> agent quota set u-42 --on',
  ];
  static override args = {user: Args.string({required: true, description: 'user code'})};
  static override flags = {
    limit: Flags.integer({
      description: 'most commands in a window',
      min: 1,
      dependsOn: ['window'],
      exactlyOne: ['limit', 'off', 'on'],
    }),
    window: durationFlag({description: 'how long a window is', dependsOn: ['limit']}),
    off: Flags.boolean({
      description: 'used up: turn the user away',
      exactlyOne: ['limit', 'off', 'on'],
    }),
    on: Flags.boolean({description: 'available', exclusive: ['off', 'limit']}),
    reason: Flags.string({description: 'why; shown to those who are turned away', default: ''}),
    for: durationFlag({description: 'end by itself after this long; default: stay until it is cleared'}),
    'dry-run': dryRunFlag(),
  };

  async run() {
    const {args, flags} = await this.parse(AgentQuotaSet);
    const {changeQuota, limitUser} = await import('../../../src/cli/admission.js');
    const change = {
      reason: flags.reason,
      forMs: flags.for,
      dryRun: flags['dry-run'],
      confirm: (question: string) => this.confirm(question),
    };
    const store = await this.openStore();
    const {limit, window: windowMs} = flags;
    if (limit === undefined || windowMs === undefined)
      return changeQuota(store, this.printer, args.user, {...change, available: !flags.off});
    return limitUser(store, this.printer, args.user, {...change, limit, windowMs});
  }
}
