import * as Args from '@oclif/core/args';
import * as Flags from '@oclif/core/flags';
import {workspaceFlag} from '../../src/cli/tasks/flags.js';
import {WorkspaceCommand} from '../../src/cli/workspace-command.js';

export default class TaskShow extends WorkspaceCommand {
  static override summary = 'Show one task.';
  static override examples = ['<%= config.bin %> task show task_01JD3K2M --runs'];
  static override args = {task: Args.string({required: true, description: 'its id, or how it begins'})};
  static override flags = {
    runs: Flags.boolean({description: 'all of its runs'}),
    policy: Flags.boolean({description: 'its whole policy'}),
    workspace: workspaceFlag(),
  };

  async run() {
    const {args, flags} = await this.parse(TaskShow);
    const {showForPeople} = await import('../../src/cli/tasks/tasks.js');
    const at = await this.at(flags);
    return showForPeople(at, args.task, flags);
  }
}
