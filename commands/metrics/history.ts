import * as Flags from '@oclif/core/flags';
import {BaseCommand} from '../../src/cli/base-command.js';
import {durationFlag} from '../../src/cli/flags.js';

export default class MetricsHistory extends BaseCommand {
  static override summary = 'Show the fleet in numbers over the last two hours.';
  static override description =
    'One worker of the fleet writes a point every few seconds: ours with --metrics-history, those of other SDKs by themselves.';
  static override examples = [
    '<%= config.bin %> metrics history',
    '<%= config.bin %> metrics history --since 1h --json',
  ];
  static override flags = {
    since: durationFlag({description: 'how far back, at most 2h', default: 900_000}),
    limit: Flags.integer({description: 'the newest so many points', default: 30, min: 1, max: 10_000}),
  };

  async run() {
    const {flags} = await this.parse(MetricsHistory);
    const {historyForPeople} = await import('../../src/cli/metrics.js');
    return historyForPeople(await this.openStore(), this.printer, flags.since, flags.limit);
  }
}
