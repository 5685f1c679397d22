import * as Args from '@oclif/core/args';
import * as Flags from '@oclif/core/flags';
import {BaseCommand} from '../src/cli/base-command.js';
import {userFlag} from '../src/cli/flags.js';

export default class Cancel extends BaseCommand {
  static override summary = 'Cancel a message and what it started, or a whole session.';
  static override examples = [
    '<%= config.bin %> cancel sess-7f3a --message msg-91c2 --reason "wrong document"',
    '<%= config.bin %> cancel sess-7f3a --yes',
  ];
  static override args = {session: Args.string({required: true, description: 'session id'})};
  static override flags = {
    message: Flags.string({description: 'only this message and its descendants', helpValue: 'ID'}),
    force: Flags.boolean({description: 'end what runs at once; what it writes afterwards is refused'}),
    'user-code': userFlag(),
    reason: Flags.string({description: 'kept in the record', default: ''}),
    'dry-run': Flags.boolean({description: 'show what would be cancelled, and do nothing'}),
  };

  async run() {
    const {args, flags} = await this.parse(Cancel);
    const {runCancel} = await import('../src/cli/run-cancel.js');
    return runCancel(await this.openStore(), this.printer, {
      sessionId: args.session,
      ...(flags.message === undefined ? {} : {messageId: flags.message}),
      userCode: flags['user-code'],
      force: flags.force,
      reason: flags.reason,
      dryRun: flags['dry-run'],
      confirm: question => this.confirm(question),
    });
  }
}
