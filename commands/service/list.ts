import {BaseCommand} from '../../src/cli/base-command.js';
import {outputFlag} from '../../src/cli/flags.js';

export default class ServiceList extends BaseCommand {
  static override summary = 'List services that were registered for others to find.';
  static override examples = ['<%= config.bin %> service list'];
  static override flags = {output: outputFlag('table', 'json', 'name')};

  async run() {
    await this.parse(ServiceList);
    const {listServices} = await import('../../src/cli/services.js');
    return listServices(await this.openStore(), this.printer, this.output);
  }
}
