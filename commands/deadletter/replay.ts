import * as Args from '@oclif/core/args';
import * as Flags from '@oclif/core/flags';
import {BaseCommand} from '../../src/cli/base-command.js';

export default class DeadletterReplay extends BaseCommand {
  static override summary = 'Put dead letters back to work, each exactly once.';
  static override description = `Without --dry-run the plan is shown first and must be confirmed (or given --yes).
The command keeps its message id and gets a new execution, which names the old one.`;
  static override aliases = ['dlq:replay'];
  static override examples = [
    '<%= config.bin %> deadletter replay 1716120001-0',
    '<%= config.bin %> deadletter replay --agent translator --rate 2 --dry-run',
    '<%= config.bin %> deadletter replay --all --yes',
  ];
  static override strict = false;
  static override args = {
    id: Args.string({description: 'ids from `by deadletter list`; - reads them from standard input'}),
  };
  static override flags = {
    all: Flags.boolean({description: 'every entry (see --limit)'}),
    agent: Flags.string({description: 'entries of this agent type', helpValue: 'TYPE'}),
    code: Flags.string({description: 'entries with this code'}),
    limit: Flags.integer({description: 'most entries', default: 100, min: 1, max: 10_000}),
    rate: Flags.integer({description: 'at most so many in a second', min: 1}),
    to: Flags.string({description: 'another agent type than it was for', helpValue: 'TYPE'}),
    policy: Flags.string({
      description: 'what to do when nobody is online',
      options: ['fail-fast', 'send-anyway'],
      default: 'fail-fast',
    }),
    'new-ids': Flags.boolean({description: 'give the message a new id too'}),
    keep: Flags.boolean({description: 'leave the dead letter where it is'}),
    reason: Flags.string({description: 'kept in the audit', default: ''}),
    'dry-run': Flags.boolean({description: 'show the plan, and do nothing'}),
  };

  async run() {
    const {argv, flags} = await this.parse(DeadletterReplay);
    const {replayForPeople, idsFrom} = await import('../../src/cli/dead-letters.js');
    return replayForPeople(await this.openStore(), this.printer, {
      ids: await idsFrom(argv as string[], () => this.readStdin('The ids')),
      filter: {
        agent: flags.agent,
        code: flags.code,
        since: undefined,
        replayable: undefined,
        limit: flags.limit,
      },
      all: flags.all,
      ratePerSecond: flags.rate,
      options: {
        ...(flags.to === undefined ? {} : {to: flags.to}),
        newIds: flags['new-ids'],
        keep: flags.keep,
        reason: flags.reason,
        sendAnyway: flags.policy === 'send-anyway',
      },
      dryRun: flags['dry-run'],
      confirm: question => this.confirm(question),
      signal: this.signal,
    });
  }
}
