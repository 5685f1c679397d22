import * as Args from '@oclif/core/args';
import * as Flags from '@oclif/core/flags';
import {workspaceFlag} from '../../../src/cli/tasks/flags.js';
import {WorkspaceCommand} from '../../../src/cli/workspace-command.js';

export default class RunAllowlistAdd extends WorkspaceCommand {
  static override summary = 'Let an agent type use a tool or a program without a question.';
  static override description = `PATTERN is \`tool:NAME\`, or the absolute path of a program; * stands for any part of a name.
Programs that run whatever they are told to (shells, interpreters) allow everything.`;
  static override examples = [
    '<%= config.bin %> run allowlist add writer tool:search',
    '<%= config.bin %> run allowlist add writer "/usr/bin/pdf*"',
  ];
  static override args = {
    agentType: Args.string({required: true, description: 'agent type'}),
    pattern: Args.string({required: true, description: 'what it may use'}),
  };
  static override flags = {
    as: Flags.string({description: 'who allows it; default: the user of this machine', helpValue: 'NAME'}),
    workspace: workspaceFlag(),
  };

  async run() {
    const {args, flags} = await this.parse(RunAllowlistAdd);
    const {allowForPeople, osUser} = await import('../../../src/cli/tasks/approvals.js');
    const at = await this.at(flags);
    return allowForPeople(at, args.agentType, args.pattern, flags.as ?? osUser());
  }
}
