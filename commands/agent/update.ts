import * as Args from '@oclif/core/args';
import * as Flags from '@oclif/core/flags';
import {activity, profileFlags} from '../../src/cli/tasks/profile-flags.js';
import {WorkspaceCommand} from '../../src/cli/workspace-command.js';

export default class AgentUpdate extends WorkspaceCommand {
  static override summary = 'Change a profile. Tasks that are there keep the policy they were accepted with.';
  static override examples = ['<%= config.bin %> agent update writer --concurrency 2 --if-version 3'];
  static override args = {agent: Args.string({required: true, description: 'key or id of a profile'})};
  static override flags = {
    ...profileFlags(),
    'if-version': Flags.integer({description: 'only if it is still at this version', min: 1}),
  };

  async run() {
    const {args, flags} = await this.parse(AgentUpdate);
    const {updateForPeople} = await import('../../src/cli/tasks/profiles.js');
    const at = await this.at(flags);
    return updateForPeople(at, args.agent, {...flags, active: activity(flags)}, flags['if-version']);
  }
}
