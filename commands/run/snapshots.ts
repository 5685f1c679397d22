import * as Args from '@oclif/core/args';
import * as Flags from '@oclif/core/flags';
import {workspaceFlag} from '../../src/cli/tasks/flags.js';
import {WorkspaceCommand} from '../../src/cli/workspace-command.js';

export default class RunSnapshots extends WorkspaceCommand {
  static override summary = 'Show how a run stood at each turn of its life.';
  static override examples = ['<%= config.bin %> run snapshots run_01JD3K2M'];
  static override args = {run: Args.string({required: true, description: 'its id, or how it begins'})};
  static override flags = {
    limit: Flags.integer({description: 'most of them', default: 100, min: 1, max: 500}),
    workspace: workspaceFlag(),
  };

  async run() {
    const {args, flags} = await this.parse(RunSnapshots);
    const {snapshotsForPeople} = await import('../../src/cli/tasks/runs.js');
    const at = await this.at(flags);
    return snapshotsForPeople(at, args.run, flags.limit);
  }
}
