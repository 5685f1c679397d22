import * as Flags from '@oclif/core/flags';
import {BaseCommand} from '../../src/cli/base-command.js';
import {groupFlag, outputFlag} from '../../src/cli/flags.js';

export default class QueueList extends BaseCommand {
  static override summary = 'List the queues: what waits, what workers have, how old the oldest of that is.';
  static override description = `A queue is an agent type's control stream. Listed are the agent types that a known worker declares, or for which
something is held back; --scan walks all keys of the server and also finds queues nobody serves.`;
  static override examples = ['<%= config.bin %> queue list', '<%= config.bin %> queue list --scan --json'];
  static override flags = {
    scan: Flags.boolean({description: 'look at every key of the server: slow on a large one'}),
    group: groupFlag(),
    output: outputFlag('table', 'json', 'name'),
  };

  async run() {
    const {flags} = await this.parse(QueueList);
    const {listForPeople} = await import('../../src/cli/queues.js');
    const {group, scan} = flags;
    return listForPeople(await this.openStore(), this.printer, this.output, {group, scan});
  }
}
