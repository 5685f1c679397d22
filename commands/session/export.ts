import * as Args from '@oclif/core/args';
import * as Flags from '@oclif/core/flags';
import {BaseCommand} from '../../src/cli/base-command.js';
import {userFlag} from '../../src/cli/flags.js';

export default class SessionExport extends BaseCommand {
  static override summary = 'Write what was said in a session to a file, or to standard output.';
  static override description = `The messages of \`by session messages\`, up to 10,000. A file is for its owner alone, and is replaced only with --yes.
jsonl  one message a line: session_id, role, kind, content, at (Unix milliseconds), metadata
json   the same as one array
md     for people to read`;
  static override examples = [
    '<%= config.bin %> session export sess-7f3a > conversation.jsonl',
    '<%= config.bin %> session export sess-7f3a --format md -o conversation.md',
  ];
  static override args = {session: Args.string({required: true, description: 'session id'})};
  static override flags = {
    format: Flags.option({
      options: ['jsonl', 'json', 'md'] as const,
      default: 'jsonl',
      description: 'form of the file',
    })(),
    output: Flags.string({
      char: 'o',
      description: 'file to write; default: standard output',
      helpValue: 'FILE',
    }),
    'user-code': userFlag(),
  };

  async run() {
    const {args, flags} = await this.parse(SessionExport);
    const [{exportMessages}, {historySettings}] = await Promise.all([
      import('../../src/cli/session-messages.js'),
      import('../../src/cli/history-settings.js'),
    ]);
    const history = await historySettings();
    return exportMessages(await this.openStore(), this.printer, {
      ...{sessionId: args.session, userCode: flags['user-code'] ?? '', history},
      ...{format: flags.format, file: flags.output === '-' ? undefined : flags.output},
      confirm: question => this.confirm(question),
    });
  }
}
