import * as Args from '@oclif/core/args';
import * as Flags from '@oclif/core/flags';
import {BaseCommand} from '../../src/cli/base-command.js';
import {lastFlag, sessionFlag, userFlag} from '../../src/cli/flags.js';

export default class ExecReplay extends BaseCommand {
  static override summary = 'Start a durable execution again, as a new one, from an entry of its journal.';
  static override description = `What came before the entry is given to its code as it was; from there on everything is asked for and done anew. The first execution stays as it is. See the entries with \`by exec show ID --journal\`.`;
  static override examples = [
    '<%= config.bin %> exec replay exec-5d10 --session sess-7f3a',
    '<%= config.bin %> exec replay exec-5d10 --last --from 3 --yes',
  ];
  static override args = {id: Args.string({required: true, description: 'execution or message id'})};
  static override flags = {
    session: sessionFlag(),
    last: lastFlag(),
    'user-code': userFlag(),
    from: Flags.integer({
      description: 'first entry that is done anew',
      default: 0,
      min: 0,
      helpValue: 'ENTRY',
    }),
    policy: Flags.string({
      char: 'p',
      description: 'when nobody is online: fail-fast, send-anyway, wake-and-wait, wake-and-queue, queue-only',
      default: 'fail-fast',
    }),
  };

  async run() {
    const {args, flags} = await this.parse(ExecReplay);
    const [{replayForPeople}, {requirePolicy}] = await Promise.all([
      import('../../src/cli/executions.js'),
      import('../../src/cli/send-input.js'),
    ]);
    const {session, last, from, 'user-code': userCode} = flags;
    const policy = requirePolicy(flags.policy);
    return replayForPeople(await this.openStore(), this.printer, args.id, {
      ...{session, last, userCode, from, policy},
      confirm: question => this.confirm(question),
    });
  }
}
