import * as Flags from '@oclif/core/flags';
import {BaseCommand} from '../src/cli/base-command.js';
import {outputFlag} from '../src/cli/flags.js';
import {workspaceFlag} from '../src/cli/tasks/flags.js';

export default class Status extends BaseCommand {
  static override summary =
    'Show the deployment in a few lines: Redis, orchestrators, agent types, what needs a look.';
  static override examples = [
    '<%= config.bin %> status',
    '<%= config.bin %> status --watch',
    '<%= config.bin %> status --exit-code -q',
  ];
  static override flags = {
    watch: Flags.boolean({char: 'w', description: 'again every two seconds, until Ctrl-C'}),
    'exit-code': Flags.boolean({
      description: 'exit 5 if an agent type has work and no worker that takes it',
      exclusive: ['watch'],
    }),
    workspace: workspaceFlag(),
    output: outputFlag('table', 'json', 'jsonl'),
  };

  async run() {
    const {flags} = await this.parse(Status);
    const {refuseStuck, showStatus} = await import('../src/cli/status/run-status.js');
    const store = await this.openStore();
    if (flags.watch) {
      const {showAgain} = await import('../src/cli/watch.js');
      return showAgain(this.printer, this.signal, async () => {
        return (await showStatus(store, this.printer, flags.workspace)).report;
      });
    }
    const {report, stuck} = await showStatus(store, this.printer, flags.workspace);
    if (flags['exit-code']) refuseStuck(stuck, report);
    return report;
  }
}
