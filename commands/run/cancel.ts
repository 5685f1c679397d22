import * as Args from '@oclif/core/args';
import {cancelFlags, workspaceFlag} from '../../src/cli/tasks/flags.js';
import {WorkspaceCommand} from '../../src/cli/workspace-command.js';

export default class RunCancel extends WorkspaceCommand {
  static override summary = 'Cancel a run. One that has ended meanwhile has ended: that is no error.';
  static override examples = ['<%= config.bin %> run cancel run_01JD3K2M --mode force'];
  static override args = {run: Args.string({required: true, description: 'its id, or how it begins'})};
  static override flags = {...cancelFlags, workspace: workspaceFlag()};

  async run() {
    const {args, flags} = await this.parse(RunCancel);
    const {cancelForPeople} = await import('../../src/cli/tasks/runs.js');
    const at = await this.at(flags);
    const {mode, reason, wait} = flags;
    return cancelForPeople(at, args.run, {mode, reason, wait, signal: this.signal});
  }
}
