import * as Args from '@oclif/core/args';
import * as Flags from '@oclif/core/flags';
import {durationFlag} from '../../src/cli/flags.js';
import {workspaceFlag} from '../../src/cli/tasks/flags.js';
import {WorkspaceCommand} from '../../src/cli/workspace-command.js';

export default class TaskArchive extends WorkspaceCommand {
  static override summary = 'Take tasks that have ended out of the lists.';
  static override examples = [
    '<%= config.bin %> task archive task_01JD3K2M',
    '<%= config.bin %> task archive --older-than 7d --status done',
  ];
  static override args = {
    task: Args.string({multiple: true, description: 'ids of tasks, or how they begin'}),
  };
  static override flags = {
    'older-than': durationFlag({description: 'all that ended so long ago'}),
    status: Flags.option({
      options: ['idle', 'done', 'error', 'cancelled', 'dropped'] as const,
      description: 'of those, only these',
    })(),
    workspace: workspaceFlag(),
  };

  async run() {
    const {argv, flags} = await this.parse(TaskArchive);
    const {archiveForPeople} = await import('../../src/cli/tasks/tasks.js');
    const at = await this.at(flags);
    return archiveForPeople(at, argv as string[], {olderThanMs: flags['older-than'], status: flags.status});
  }
}
