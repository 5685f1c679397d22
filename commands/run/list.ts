import * as Flags from '@oclif/core/flags';
import {outputFlag} from '../../src/cli/flags.js';
import {cursorFlag, limitFlag, workspaceFlag} from '../../src/cli/tasks/flags.js';
import {WorkspaceCommand} from '../../src/cli/workspace-command.js';
import {RUN_STATES} from '../../src/protocol/orchestration/states.js';

export default class RunList extends WorkspaceCommand {
  static override summary = 'List runs, newest first.';
  static override examples = [
    '<%= config.bin %> run list --status error',
    '<%= config.bin %> run list --task task_01JD3K2M',
  ];
  static override flags = {
    status: Flags.option({options: RUN_STATES, description: 'only these'})(),
    task: Flags.string({description: 'only of this task', helpValue: 'TASK'}),
    agent: Flags.string({description: 'only of this agent type or profile'}),
    session: Flags.string({char: 's', description: 'only of this session', helpValue: 'ID'}),
    limit: limitFlag(),
    cursor: cursorFlag(),
    workspace: workspaceFlag(),
    output: outputFlag('table', 'json', 'name'),
  };

  async run() {
    const {flags} = await this.parse(RunList);
    const {listForPeople} = await import('../../src/cli/tasks/runs.js');
    const {status, task, agent, session, limit, cursor} = flags;
    const at = await this.at(flags);
    return listForPeople(at, this.output, {status, taskId: task, agent, sessionId: session, limit, cursor});
  }
}
