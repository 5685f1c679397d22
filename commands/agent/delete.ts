import * as Args from '@oclif/core/args';
import * as Flags from '@oclif/core/flags';
import {workspaceFlag} from '../../src/cli/tasks/flags.js';
import {WorkspaceCommand} from '../../src/cli/workspace-command.js';

export default class AgentDelete extends WorkspaceCommand {
  static override summary = 'Delete a profile. Its tasks are kept.';
  static override examples = ['<%= config.bin %> agent delete writer --yes'];
  static override args = {agent: Args.string({required: true, description: 'key or id of a profile'})};
  static override flags = {
    force: Flags.boolean({description: 'also while tasks of it are under way'}),
    workspace: workspaceFlag(),
  };

  async run() {
    const {args, flags} = await this.parse(AgentDelete);
    const {deleteForPeople} = await import('../../src/cli/tasks/profiles.js');
    const at = await this.at(flags);
    return deleteForPeople(at, args.agent, {
      force: flags.force,
      confirm: question => this.confirm(question),
    });
  }
}
