import * as Flags from '@oclif/core/flags';
import {BaseCommand} from '../../src/cli/base-command.js';
import {outputFlag} from '../../src/cli/flags.js';

export default class WorkerList extends BaseCommand {
  static override summary = 'List workers: who is online, what they serve, how fresh their lease is.';
  static override examples = [
    '<%= config.bin %> worker list',
    '<%= config.bin %> worker list --agent-type echo_bot --json',
  ];
  static override flags = {
    'agent-type': Flags.string({description: 'only workers that serve this agent type', helpValue: 'TYPE'}),
    state: Flags.string({
      options: ['online', 'draining', 'suspended', 'evicted', 'stale'],
      description: 'only workers in this state',
    }),
    output: outputFlag('table', 'json', 'name'),
  };

  async run() {
    const {flags} = await this.parse(WorkerList);
    const [{listWorkers}, {showWorkers}] = await Promise.all([
      import('../../src/registry/listing.js'),
      import('../../src/cli/show-workers.js'),
    ]);
    const store = await this.openStore();
    const all = await listWorkers(store);
    const workers = all.filter(
      worker =>
        (flags['agent-type'] === undefined || worker.agentTypes.includes(flags['agent-type'])) &&
        (flags.state === undefined || worker.state === flags.state),
    );
    showWorkers(this.printer, workers, this.output);
    return {workers};
  }
}
