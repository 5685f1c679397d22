import * as Flags from '@oclif/core/flags';
import {outputFlag} from '../../src/cli/flags.js';
import {cursorFlag, limitFlag, momentOf, sinceFlag, workspaceFlag} from '../../src/cli/tasks/flags.js';
import {WorkspaceCommand} from '../../src/cli/workspace-command.js';
import {TASK_STATES} from '../../src/protocol/orchestration/states.js';

export default class TaskList extends WorkspaceCommand {
  static override summary = 'List tasks, newest first.';
  static override examples = [
    '<%= config.bin %> task list --status running',
    '<%= config.bin %> task list --agent writer --since 1h -o name',
  ];
  static override flags = {
    status: Flags.option({options: TASK_STATES, description: 'only these'})(),
    agent: Flags.string({description: 'only of this agent type or profile'}),
    session: Flags.string({char: 's', description: 'only of this session', helpValue: 'ID'}),
    label: Flags.string({description: 'only with this label'}),
    archived: Flags.boolean({description: 'those that were archived, in place of the others'}),
    since: sinceFlag(),
    limit: limitFlag(),
    cursor: cursorFlag(),
    workspace: workspaceFlag(),
    output: outputFlag('table', 'json', 'name'),
  };

  async run() {
    const {flags} = await this.parse(TaskList);
    const {listForPeople} = await import('../../src/cli/tasks/tasks.js');
    const {status, agent, label, archived, limit, cursor} = flags;
    const at = await this.at(flags);
    const since = flags.since === undefined ? undefined : momentOf(flags.since, Date.now());
    return listForPeople(at, this.output, {
      status,
      agent,
      label,
      archived,
      limit,
      cursor,
      since,
      sessionId: flags.session,
    });
  }
}
