import * as Args from '@oclif/core/args';
import * as Flags from '@oclif/core/flags';
import {BaseCommand} from '../../src/cli/base-command.js';
import {userFlag} from '../../src/cli/flags.js';

export default class SessionMessages extends BaseCommand {
  static override summary =
    'Show what was said in a session: what was asked, answered, asked back and replied.';
  static override description = `From the history, where it is kept in Redis or PostgreSQL (BY_HISTORY, BY_HISTORY_URL, or \`history\` of by.config).
Without one it is rebuilt from the session's events: what people asked is then known only of durable agents.`;
  static override examples = [
    '<%= config.bin %> session messages sess-7f3a',
    '<%= config.bin %> session messages sess-7f3a --limit 5 --json',
  ];
  static override args = {session: Args.string({required: true, description: 'session id'})};
  static override flags = {
    limit: Flags.integer({description: 'the newest so many', default: 50, min: 1, max: 1000}),
    'user-code': userFlag(),
  };

  async run() {
    const {args, flags} = await this.parse(SessionMessages);
    const [{messagesForPeople}, {historySettings}] = await Promise.all([
      import('../../src/cli/session-messages.js'),
      import('../../src/cli/history-settings.js'),
    ]);
    const history = await historySettings();
    return messagesForPeople(await this.openStore(), this.printer, {
      ...{sessionId: args.session, userCode: flags['user-code'] ?? '', limit: flags.limit, history},
    });
  }
}
