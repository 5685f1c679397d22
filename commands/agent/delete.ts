import * as Args from '@oclif/core/args';
import * as Flags from '@oclif/core/flags';
import {BaseCommand} from '../../src/cli/base-command.js';
import {workspaceFlag} from '../../src/cli/tasks/flags.js';

export default class AgentDelete extends BaseCommand {
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
    const at = {store: await this.openStore(), printer: this.printer, workspace: flags.workspace};
    return deleteForPeople(at, args.agent, {
      force: flags.force,
      confirm: question => this.confirm(question),
    });
  }
}
