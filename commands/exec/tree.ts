import * as Args from '@oclif/core/args';
import * as Flags from '@oclif/core/flags';
import {BaseCommand} from '../../src/cli/base-command.js';
import {lastFlag, outputFlag, sessionFlag, userFlag} from '../../src/cli/flags.js';

export default class ExecTree extends BaseCommand {
  static override summary = 'Show the executions of a session as a tree: who called whom, and how it went.';
  static override examples = ['<%= config.bin %> exec tree sess-7f3a', '<%= config.bin %> exec tree --last'];
  static override args = {session: Args.string({description: 'session id; the same as --session'})};
  static override flags = {
    session: sessionFlag(),
    last: lastFlag(),
    'user-code': userFlag(),
    depth: Flags.integer({description: 'deepest level to show', default: 50, min: 0, max: 1000}),
    output: outputFlag('table', 'json', 'name'),
  };

  async run() {
    const {args, flags} = await this.parse(ExecTree);
    const {treeForPeople} = await import('../../src/cli/executions.js');
    return treeForPeople(await this.openStore(), this.printer, this.output, {
      session: flags.session ?? args.session,
      last: flags.last,
      userCode: flags['user-code'],
      depth: flags.depth,
    });
  }
}
