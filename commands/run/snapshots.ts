import * as Args from '@oclif/core/args';
import * as Flags from '@oclif/core/flags';
import {BaseCommand} from '../../src/cli/base-command.js';
import {workspaceFlag} from '../../src/cli/tasks/flags.js';

export default class RunSnapshots extends BaseCommand {
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
    const at = {store: await this.openStore(), printer: this.printer, workspace: flags.workspace};
    return snapshotsForPeople(at, args.run, flags.limit);
  }
}
