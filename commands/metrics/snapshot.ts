import {BaseCommand} from '../../src/cli/base-command.js';
import {outputFlag} from '../../src/cli/flags.js';

export default class MetricsSnapshot extends BaseCommand {
  static override summary = 'Show the fleet in numbers: who is online, what waits where.';
  static override examples = [
    '<%= config.bin %> metrics snapshot',
    '<%= config.bin %> metrics snapshot -o prometheus',
  ];
  static override flags = {output: outputFlag('table', 'json', 'prometheus')};

  async run() {
    await this.parse(MetricsSnapshot);
    const {snapshotForPeople} = await import('../../src/cli/metrics.js');
    return snapshotForPeople(await this.openStore(), this.printer, this.output);
  }
}
