import * as Args from '@oclif/core/args';
import {workspaceFlag} from '../../../src/cli/tasks/flags.js';
import {WorkspaceCommand} from '../../../src/cli/workspace-command.js';

export default class RunAllowlistList extends WorkspaceCommand {
  static override summary = 'List what an agent type may use without a question.';
  static override examples = ['<%= config.bin %> run allowlist list writer'];
  static override args = {agentType: Args.string({required: true, description: 'agent type'})};
  static override flags = {workspace: workspaceFlag()};

  async run() {
    const {args, flags} = await this.parse(RunAllowlistList);
    const {listAllowedForPeople} = await import('../../../src/cli/tasks/approvals.js');
    const at = await this.at(flags);
    return listAllowedForPeople(at, args.agentType);
  }
}
