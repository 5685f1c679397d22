import * as Flags from '@oclif/core/flags';
import {BaseCommand} from '../../src/cli/base-command.js';

export default class MetricsServe extends BaseCommand {
  static override summary = 'Answer Prometheus: the fleet in numbers at /metrics, until told to stop.';
  static override examples = ['<%= config.bin %> metrics serve --listen 127.0.0.1:9465'];
  static override flags = {
    listen: Flags.string({
      description: 'where to listen: a port of this machine, or HOST:PORT',
      default: '9465',
      helpValue: 'ADDRESS',
    }),
  };
  protected override readonly endsBySignal = true;

  async run() {
    const {flags} = await this.parse(MetricsServe);
    const {serveForPeople} = await import('../../src/cli/metrics.js');
    return serveForPeople(await this.openStore(), this.printer, flags.listen, this.signal);
  }
}
