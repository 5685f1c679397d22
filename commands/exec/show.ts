import * as Args from '@oclif/core/args';
import * as Flags from '@oclif/core/flags';
import {BaseCommand} from '../../src/cli/base-command.js';
import {groupFlag, lastFlag, sessionFlag, userFlag} from '../../src/cli/flags.js';

export default class ExecShow extends BaseCommand {
  static override summary = 'Show one execution: its life so far, where its command is, its dead letter.';
  static override description = `Executions are kept by session, so name it. Queues and dead letters are searched up to a thousand entries each.`;
  static override examples = [
    '<%= config.bin %> exec show exec-5d10 --session sess-7f3a',
    '<%= config.bin %> exec show msg-91c2 --last --json',
    '<%= config.bin %> exec show exec-5d10 --last --journal',
  ];
  static override args = {id: Args.string({required: true, description: 'execution or message id'})};
  static override flags = {
    session: sessionFlag(),
    last: lastFlag(),
    'user-code': userFlag(),
    group: groupFlag(),
    journal: Flags.boolean({description: 'what a durable execution asked for, and what came of it'}),
  };

  async run() {
    const {args, flags} = await this.parse(ExecShow);
    const {showForPeople} = await import('../../src/cli/executions.js');
    const {session, last, group, journal, 'user-code': userCode} = flags;
    return showForPeople(await this.openStore(), this.printer, args.id, {
      ...{session, last, userCode, group, journal},
    });
  }
}
