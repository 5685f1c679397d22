import * as Args from '@oclif/core/args';
import {BaseCommand} from '../../src/cli/base-command.js';
import {outputFlag} from '../../src/cli/flags.js';

export default class ServiceShow extends BaseCommand {
  static override summary =
    'Show the instances of a service: where they are, and when they were last heard of.';
  static override examples = ['<%= config.bin %> service show billing'];
  static override args = {service: Args.string({required: true, description: 'name of the service'})};
  static override flags = {output: outputFlag('table', 'json', 'name')};

  async run() {
    const {args} = await this.parse(ServiceShow);
    const {showService} = await import('../../src/cli/services.js');
    return showService(await this.openStore(), this.printer, this.output, args.service);
  }
}
