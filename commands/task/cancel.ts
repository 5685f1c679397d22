import * as Args from '@oclif/core/args';
import * as Flags from '@oclif/core/flags';
import {BaseCommand} from '../../src/cli/base-command.js';
import {cancelModeFlag, workspaceFlag} from '../../src/cli/tasks/flags.js';

export default class TaskCancel extends BaseCommand {
  static override summary = 'Cancel a task: what waits never begins, what runs is told to stop.';
  static override examples = ['<%= config.bin %> task cancel task_01JD3K2M --reason "not needed" --wait'];
  static override args = {task: Args.string({required: true, description: 'its id, or how it begins'})};
  static override flags = {
    mode: cancelModeFlag(),
    reason: Flags.string({description: 'why; kept with the run', default: ''}),
    wait: Flags.boolean({description: 'until nothing runs any more; --timeout bounds it'}),
    workspace: workspaceFlag(),
  };

  async run() {
    const {args, flags} = await this.parse(TaskCancel);
    const {cancelForPeople} = await import('../../src/cli/tasks/tasks.js');
    const at = {store: await this.openStore(), printer: this.printer, workspace: flags.workspace};
    const {mode, reason, wait} = flags;
    return cancelForPeople(at, args.task, {mode, reason, wait, signal: this.signal});
  }
}
