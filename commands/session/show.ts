import * as Args from '@oclif/core/args';
import {BaseCommand} from '../../src/cli/base-command.js';
import {userFlag} from '../../src/cli/flags.js';

export default class SessionShow extends BaseCommand {
  static override summary = 'Show one session: its state, executions, last event, and how long it is kept.';
  static override examples = ['<%= config.bin %> session show sess-7f3a'];
  static override args = {session: Args.string({required: true, description: 'session id'})};

  static override flags = {'user-code': userFlag()};

  async run() {
    const {args, flags} = await this.parse(SessionShow);
    const {showForPeople} = await import('../../src/cli/sessions.js');
    return showForPeople(await this.openStore(), this.printer, args.session, flags['user-code']);
  }
}
