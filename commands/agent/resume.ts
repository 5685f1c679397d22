import * as Args from '@oclif/core/args';
import {BaseCommand} from '../../src/cli/base-command.js';
import {workspaceFlag} from '../../src/cli/tasks/flags.js';

export default class AgentResume extends BaseCommand {
  static override summary = 'Let a pool that was degraded by failures send again, all it has room for.';
  static override examples = ['<%= config.bin %> agent resume writer'];
  static override args = {
    pool: Args.string({required: true, description: 'a pool, or an agent: all of its pools'}),
  };
  static override flags = {workspace: workspaceFlag()};

  async run() {
    const {args, flags} = await this.parse(AgentResume);
    const {resumeForPeople} = await import('../../src/cli/tasks/profiles.js');
    const at = {store: await this.openStore(), printer: this.printer, workspace: flags.workspace};
    return resumeForPeople(at, args.pool);
  }
}
