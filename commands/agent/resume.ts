import * as Args from '@oclif/core/args';
import {workspaceFlag} from '../../src/cli/tasks/flags.js';
import {WorkspaceCommand} from '../../src/cli/workspace-command.js';

export default class AgentResume extends WorkspaceCommand {
  static override summary = 'Let a pool that was degraded by failures send again, all it has room for.';
  static override examples = ['<%= config.bin %> agent resume writer'];
  static override args = {
    pool: Args.string({required: true, description: 'a pool, or an agent: all of its pools'}),
  };
  static override flags = {workspace: workspaceFlag()};

  async run() {
    const {args, flags} = await this.parse(AgentResume);
    const {resumeForPeople} = await import('../../src/cli/tasks/profiles.js');
    const at = await this.at(flags);
    return resumeForPeople(at, args.pool);
  }
}
