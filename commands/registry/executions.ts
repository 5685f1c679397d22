import * as Args from '@oclif/core/args';
import {BaseCommand} from '../../src/cli/base-command.js';
import {outputFlag} from '../../src/cli/flags.js';

export default class RegistryExecutions extends BaseCommand {
  static override summary = 'List the executions of a session.';
  static override args = {session: Args.string({required: true, description: 'session id'})};
  static override flags = {output: outputFlag('table', 'json', 'name')};

  async run() {
    const {args} = await this.parse(RegistryExecutions);
    const {showExecutions} = await import('../../src/cli/show-executions.js');
    return {
      executions: await showExecutions(await this.openStore(), this.printer, this.output, args.session),
    };
  }
}
