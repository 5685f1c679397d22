import * as Flags from '@oclif/core/flags';
import {BaseCommand} from '../../src/cli/base-command.js';
import {outputFlag} from '../../src/cli/flags.js';

export default class PluginList extends BaseCommand {
  static override summary = 'List the plugins of workers: versions, configurations, how their hooks fare.';
  static override description = `Workers say it every ten seconds. CONFIG is how often a worker has built its configuration, and its hash: workers
with the same hash have the same prompts and data. LATE counts hooks that took longer than their time.`;
  static override examples = [
    '<%= config.bin %> plugin list',
    '<%= config.bin %> plugin list --agent-type writer --hooks',
  ];
  static override flags = {
    'agent-type': Flags.string({description: 'only workers that serve this agent type', helpValue: 'TYPE'}),
    hooks: Flags.boolean({description: 'a line a hook: calls, failures, mean and longest time'}),
    output: outputFlag('table', 'json', 'name'),
  };

  async run() {
    const {flags} = await this.parse(PluginList);
    const {listPlugins} = await import('../../src/cli/plugins.js');
    const shown = {agentType: flags['agent-type'], output: this.output, hooks: flags.hooks};
    return listPlugins(await this.openStore(), this.printer, shown);
  }
}
