import * as Args from '@oclif/core/args';
import {workspaceFlag} from '../../src/cli/tasks/flags.js';
import {WorkspaceCommand} from '../../src/cli/workspace-command.js';

export default class AgentScale extends WorkspaceCommand {
  static override summary = 'Say how many runs of an agent go at once in each of its pools; 0 pauses.';
  static override examples = [
    '<%= config.bin %> agent scale writer 0',
    '<%= config.bin %> agent scale writer 10',
  ];
  static override args = {
    agent: Args.string({required: true, description: 'profile, or agent type'}),
    runs: Args.integer({required: true, description: 'how many, 0 to 1000', min: 0, max: 1000}),
  };
  static override flags = {workspace: workspaceFlag()};

  async run() {
    const {args, flags} = await this.parse(AgentScale);
    const {scaleForPeople} = await import('../../src/cli/tasks/profiles.js');
    const at = await this.at(flags);
    return scaleForPeople(at, args.agent, args.runs);
  }
}
