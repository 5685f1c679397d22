import * as Args from '@oclif/core/args';
import * as Flags from '@oclif/core/flags';
import {BaseCommand} from '../../src/cli/base-command.js';
import {groupFlag} from '../../src/cli/flags.js';

export default class QueueAck extends BaseCommand {
  static override summary = 'Give up pending entries: nobody will run them any more.';
  static override description = `The whole command goes to the dead letters, in one step with the acknowledgement, and can be replayed from there.
With --drop nothing is kept. The execution's status stays what it was: \`by cancel\` ends it.
Only entries that somebody was given can be given up; one that waits is stopped with \`by cancel\`.`;
  static override examples = [
    '<%= config.bin %> queue ack translator 1716123456789-0 --reason "endless loop"',
    '<%= config.bin %> queue ack translator 1716123456789-0 --drop --yes',
  ];
  static override args = {
    type: Args.string({required: true, description: 'agent type'}),
    entry: Args.string({multiple: true, required: true, description: 'entries from `by queue pending`'}),
  };
  static override flags = {
    drop: Flags.boolean({description: 'keep nothing: the command is lost'}),
    reason: Flags.string({description: 'kept in the dead letter', default: ''}),
    group: groupFlag(),
  };

  async run() {
    const {args, argv, flags} = await this.parse(QueueAck);
    const {ackForPeople} = await import('../../src/cli/queue-actions.js');
    return ackForPeople(await this.openStore(), this.printer, args.type, {
      ids: (argv as string[]).slice(1),
      drop: flags.drop,
      reason: flags.reason,
      group: flags.group,
      confirm: question => this.confirm(question),
    });
  }
}
