import * as Args from '@oclif/core/args';
import {BaseCommand} from '../../../src/cli/base-command.js';
import {workspaceFlag} from '../../../src/cli/tasks/flags.js';

export default class RunAllowlistRemove extends BaseCommand {
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
    const at = {store: await this.openStore(), printer: this.printer, workspace: flags.workspace};
    return disallowForPeople(at, args.agentType, args.pattern);
  }
}
