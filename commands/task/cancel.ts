import * as Args from '@oclif/core/args';
import {cancelFlags, workspaceFlag} from '../../src/cli/tasks/flags.js';
import {WorkspaceCommand} from '../../src/cli/workspace-command.js';

export default class TaskCancel extends WorkspaceCommand {
  static override summary = 'Cancel a task: what waits never begins, what runs is told to stop.';
  static override examples = ['<%= config.bin %> task cancel task_01JD3K2M --reason "not needed" --wait'];
  static override args = {task: Args.string({required: true, description: 'its id, or how it begins'})};
  static override flags = {...cancelFlags, workspace: workspaceFlag()};

  async run() {
    const {args, flags} = await this.parse(TaskCancel);
    const {cancelForPeople} = await import('../../src/cli/tasks/tasks.js');
    const at = await this.at(flags);
    const {mode, reason, wait} = flags;
    return cancelForPeople(at, args.task, {mode, reason, wait, signal: this.signal});
  }
}
