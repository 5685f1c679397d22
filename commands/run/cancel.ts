import * as Args from '@oclif/core/args';
import * as Flags from '@oclif/core/flags';
import {BaseCommand} from '../../src/cli/base-command.js';
import {cancelModeFlag, workspaceFlag} from '../../src/cli/tasks/flags.js';

export default class RunCancel extends BaseCommand {
  static override summary = 'Cancel a run. One that has ended meanwhile has ended: that is no error.';
  static override examples = ['<%= config.bin %> run cancel run_01JD3K2M --mode force'];
  static override args = {run: Args.string({required: true, description: 'its id, or how it begins'})};
  static override flags = {
    mode: cancelModeFlag(),
    reason: Flags.string({description: 'why; kept with the run', default: ''}),
    wait: Flags.boolean({description: 'until nothing runs any more; --timeout bounds it'}),
    workspace: workspaceFlag(),
  };

  async run() {
    const {args, flags} = await this.parse(RunCancel);
    const {cancelForPeople} = await import('../../src/cli/tasks/runs.js');
    const at = {store: await this.openStore(), printer: this.printer, workspace: flags.workspace};
    const {mode, reason, wait} = flags;
    return cancelForPeople(at, args.run, {mode, reason, wait, signal: this.signal});
  }
}
