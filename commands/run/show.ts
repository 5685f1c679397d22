import * as Args from '@oclif/core/args';
import * as Flags from '@oclif/core/flags';
import {BaseCommand} from '../../src/cli/base-command.js';
import {workspaceFlag} from '../../src/cli/tasks/flags.js';

export default class RunShow extends BaseCommand {
  static override summary = 'Show one run.';
  static override examples = ['<%= config.bin %> run show run_01JD3K2M --attempts'];
  static override args = {run: Args.string({required: true, description: 'its id, or how it begins'})};
  static override flags = {
    attempts: Flags.boolean({description: 'each of its attempts'}),
    workspace: workspaceFlag(),
  };

  async run() {
    const {args, flags} = await this.parse(RunShow);
    const {showForPeople} = await import('../../src/cli/tasks/runs.js');
    const at = {store: await this.openStore(), printer: this.printer, workspace: flags.workspace};
    return showForPeople(at, args.run, flags.attempts);
  }
}
