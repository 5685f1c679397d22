import * as Args from '@oclif/core/args';
import * as Flags from '@oclif/core/flags';
import {outputFlag} from '../../src/cli/flags.js';
import {workspaceFlag} from '../../src/cli/tasks/flags.js';
import {WorkspaceCommand} from '../../src/cli/workspace-command.js';
import {LOG_STREAMS} from '../../src/protocol/orchestration/history.js';

export default class TaskLogs extends WorkspaceCommand {
  static override summary = 'Show what was said in a task.';
  static override examples = [
    '<%= config.bin %> task logs task_01JD3K2M --follow',
    '<%= config.bin %> task logs task_01JD3K2M --stream agent --raw',
  ];
  static override args = {task: Args.string({required: true, description: 'its id, or how it begins'})};
  static override flags = {
    follow: Flags.boolean({description: 'go on until the task has ended'}),
    from: Flags.integer({description: 'the first number to show', min: 0, exclusive: ['tail']}),
    tail: Flags.integer({description: 'only the last so many', min: 1, max: 10_000}),
    stream: Flags.option({options: LOG_STREAMS, description: 'only of this stream'})(),
    run: Flags.string({description: 'only of this run', helpValue: 'RUN'}),
    raw: Flags.boolean({description: 'the text alone'}),
    workspace: workspaceFlag(),
    output: outputFlag('table', 'json', 'jsonl'),
  };
  protected override readonly endsBySignal = true;

  async run() {
    const {args, flags} = await this.parse(TaskLogs);
    const {logsForPeople} = await import('../../src/cli/tasks/tasks.js');
    const at = await this.at(flags);
    const {follow, from, tail, stream, run, raw} = flags;
    return logsForPeople(at, args.task, {follow, from, tail, stream, run, raw, signal: this.signal});
  }
}
