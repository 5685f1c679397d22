import * as Args from '@oclif/core/args';
import {workspaceFlag} from '../../../src/cli/tasks/flags.js';
import {WorkspaceCommand} from '../../../src/cli/workspace-command.js';

export default class RunAllowlistRemove extends WorkspaceCommand {
  static override summary = 'Take something off the allowlist of an agent type.';
  static override examples = ['<%= config.bin %> run allowlist remove writer tool:search'];
  static override args = {
    agentType: Args.string({required: true, description: 'agent type'}),
    pattern: Args.string({required: true, description: 'as it is listed'}),
  };
  static override flags = {workspace: workspaceFlag()};

  async run() {
    const {args, flags} = await this.parse(RunAllowlistRemove);
    const {disallowForPeople} = await import('../../../src/cli/tasks/approvals.js');
    const at = await this.at(flags);
    return disallowForPeople(at, args.agentType, args.pattern);
  }
}
