import * as Args from '@oclif/core/args';
import {activity, profileFlags} from '../../src/cli/tasks/profile-flags.js';
import {WorkspaceCommand} from '../../src/cli/workspace-command.js';

export default class AgentCreate extends WorkspaceCommand {
  static override summary =
    'Make a profile: a named agent with a policy, and how many of its runs go at once.';
  static override description = 'An agent type needs no profile: without one the defaults hold.';
  static override examples = ['<%= config.bin %> agent create writer --concurrency 10 --policy @policy.json'];
  static override args = {key: Args.string({required: true, description: 'its name: a-z 0-9 _ . -'})};
  static override flags = profileFlags();

  async run() {
    const {args, flags} = await this.parse(AgentCreate);
    const {createForPeople} = await import('../../src/cli/tasks/profiles.js');
    const at = await this.at(flags);
    return createForPeople(at, args.key, {...flags, active: activity(flags)});
  }
}
