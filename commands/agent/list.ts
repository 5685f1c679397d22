import * as Flags from '@oclif/core/flags';
import {BaseCommand} from '../../src/cli/base-command.js';
import {outputFlag} from '../../src/cli/flags.js';
import {workspaceFlag} from '../../src/cli/tasks/flags.js';

const STATUSES = ['idle', 'busy', 'on_call', 'exhausted', 'stale', 'offline'] as const;

export default class AgentList extends BaseCommand {
  static override summary = 'List agent types: who serves them, and what keeps commands from them.';
  static override description = `Listed are those a known worker declares, or something is held back for; \`by agent circuit list\` walks all keys.
With --workers: the status of each worker too. An exhausted worker has used up a quota; one of by takes nothing until it
recovers, of a foreign one it is said that nothing keeps it from that.`;
  static override examples = [
    '<%= config.bin %> agent list',
    '<%= config.bin %> agent list --workers',
    '<%= config.bin %> agents --status exhausted,stale',
  ];
  static override flags = {
    workers: Flags.boolean({description: 'with the status of each worker'}),
    type: Flags.string({description: 'with --workers or --pools: only this agent type', helpValue: 'TYPE'}),
    status: Flags.option({
      options: STATUSES,
      multiple: true,
      delimiter: ',',
      description: 'with --workers: only workers with one of these',
    })(),
    pools: Flags.boolean({
      description: 'the pools of runs in place of workers, and how they fare',
      exclusive: ['workers', 'status'],
    }),
    workspace: workspaceFlag(),
    watch: Flags.boolean({char: 'w', description: 'again every two seconds, until Ctrl-C'}),
    output: outputFlag('table', 'json', 'jsonl', 'name'),
  };

  async run() {
    const {flags} = await this.parse(AgentList);
    const store = await this.openStore();
    const {listForPeople} = await import('../../src/cli/agents.js');
    const show = async () => {
      if (flags.pools) {
        const {listPoolsForPeople} = await import('../../src/cli/tasks/profiles.js');
        const at = {store, printer: this.printer, workspace: flags.workspace};
        return listPoolsForPeople(at, this.output, flags.type);
      }
      const isAboutWorkers = flags.workers || flags.type !== undefined || flags.status !== undefined;
      if (!isAboutWorkers) return listForPeople(store, this.printer, this.output);
      const {showAgentWorkers} = await import('../../src/cli/agent-workers.js');
      return showAgentWorkers(store, this.printer, this.output, {
        ...{agentType: flags.type, statuses: flags.status ?? []},
      });
    };
    if (!flags.watch) return show();
    const {showAgain} = await import('../../src/cli/watch.js');
    return showAgain(this.printer, this.signal, show);
  }
}
