import * as Args from '@oclif/core/args';
import * as Flags from '@oclif/core/flags';
import {BaseCommand} from '../../src/cli/base-command.js';
import {userFlag} from '../../src/cli/flags.js';

export default class SessionCancel extends BaseCommand {
  static override summary = 'Cancel every execution of a session that has not ended.';
  static override description =
    'The same as `by cancel SESSION`. To stop one message and what it started: `by cancel SESSION --message ID`.';
  static override examples = ['<%= config.bin %> session cancel sess-7f3a --reason "wrong document" --yes'];
  static override args = {session: Args.string({required: true, description: 'session id'})};
  static override flags = {
    force: Flags.boolean({description: 'end what runs at once; what it writes afterwards is refused'}),
    'user-code': userFlag(),
    reason: Flags.string({description: 'kept in the records', default: ''}),
    'dry-run': Flags.boolean({description: 'show what would be cancelled, and do nothing'}),
  };

  async run() {
    const {args, flags} = await this.parse(SessionCancel);
    const [{runCancel}, {checkedId}] = await Promise.all([
      import('../../src/cli/run-cancel.js'),
      import('../../src/cli/ids.js'),
    ]);
    return runCancel(await this.openStore(), this.printer, {
      sessionId: checkedId(args.session, 'session id'),
      userCode: flags['user-code'],
      force: flags.force,
      reason: flags.reason,
      dryRun: flags['dry-run'],
      confirm: question => this.confirm(question),
    });
  }
}
