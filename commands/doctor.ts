import * as Flags from '@oclif/core/flags';
import {BaseCommand} from '../src/cli/base-command.js';

export default class Doctor extends BaseCommand {
  static override summary = 'Check this machine, the server, and what is stored there.';
  static override description = 'Each finding names what to do. With --strict findings are exit code 12.';
  static override flags = {strict: Flags.boolean({description: 'exit 12 if anything was found'})};

  async run() {
    const {flags} = await this.parse(Doctor);
    const {runDoctor} = await import('../src/cli/run-doctor.js');
    return runDoctor(await this.openStore(), this.connection, this.printer, flags.strict);
  }
}
