import * as Args from '@oclif/core/args';
import * as Flags from '@oclif/core/flags';
import {workspaceFlag} from '../../src/cli/tasks/flags.js';
import {WorkspaceCommand} from '../../src/cli/workspace-command.js';

export default class RunShow extends WorkspaceCommand {
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
    const at = await this.at(flags);
    return showForPeople(at, args.run, flags.attempts);
  }
}
