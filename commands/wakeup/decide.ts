import * as Args from '@oclif/core/args';
import * as Flags from '@oclif/core/flags';
import {BaseCommand} from '../../src/cli/base-command.js';
import {durationFlag} from '../../src/cli/flags.js';

const STATUSES = ['ready', 'starting', 'queued', 'rejected', 'failed', 'fallback'] as const;

export default class WakeupDecide extends BaseCommand {
  static override summary = 'Answer a wakeup by hand, in place of a provider.';
  static override description = `Everybody is told who waits for the same agent type, user and region, and the wakeup is over, also for a manager
that is at it. After starting and queued they go on waiting. ready is believed once a worker is really online.
failed keeps the commands as dead letters, as when a provider fails.`;
  static override examples = [
    '<%= config.bin %> wakeup decide exec-5d10 ready',
    '<%= config.bin %> wakeup decide exec-5d10 rejected --reason "no quota left on the cluster" --retry-after 5m',
    '<%= config.bin %> wakeup decide exec-5d10 fallback --to ocr_lite',
  ];
  static override args = {
    wakeup: Args.string({
      required: true,
      description: 'an execution that waits, or an entry of `by wakeup list`',
    }),
    decision: Args.option({options: STATUSES, description: 'the answer'})({required: true}),
  };
  static override flags = {
    reason: Flags.string({description: 'told to those who wait', default: '', helpValue: 'TEXT'}),
    to: Flags.string({description: 'with fallback: the agent type that stands in', helpValue: 'TYPE'}),
    worker: Flags.string({
      description: 'with ready: a worker that is there; repeatable',
      multiple: true,
      multipleNonGreedy: true,
      helpValue: 'ID',
    }),
    'retry-after': durationFlag({description: 'with rejected and failed: when to ask again'}),
    'dry-run': Flags.boolean({description: 'show who would be told, and do nothing'}),
  };

  async run() {
    const {args, flags} = await this.parse(WakeupDecide);
    const {decideForPeople} = await import('../../src/cli/wakeups.js');
    return decideForPeople(await this.openStore(), this.printer, args.wakeup, {
      status: args.decision,
      reason: flags.reason,
      to: flags.to,
      workerIds: flags.worker ?? [],
      retryAfterMs: flags['retry-after'],
      dryRun: flags['dry-run'],
      confirm: question => this.confirm(question),
    });
  }
}
