import * as Args from '@oclif/core/args';
import * as Flags from '@oclif/core/flags';
import {durationFlag} from '../../src/cli/flags.js';
import {LocalCommand} from '../../src/cli/local-command.js';

export default class PluginCheck extends LocalCommand {
  static override summary = 'Load plugins in a process of their own, and say what is wrong with them.';
  static override description = `PATH is a file or a folder, as for --plugin of worker run. Everything a worker checks is checked: whose the files are,
what they export, what they register; hooks are not called, and no Redis is needed. A problem is exit code 12, a file that
does not load 2, one that others may write to 13.`;
  static override examples = [
    '<%= config.bin %> plugin check plugins',
    '<%= config.bin %> plugin check src/search-plugin.ts --strict --json',
  ];
  static override args = {path: Args.string({description: 'file or folder', required: true})};
  static override flags = {
    agent: Flags.string({
      description: 'agent type of the worker it is for; again for more',
      helpValue: 'TYPE',
      multiple: true,
    }),
    'answer-within': durationFlag({description: 'how long loading may take', default: 30_000}),
    strict: Flags.boolean({description: 'exit 12 also for warnings'}),
  };

  async run() {
    const {args, flags} = await this.parse(PluginCheck);
    const [{runCheckPlugin}, {loadProject}] = await Promise.all([
      import('../../src/cli/run-check-plugin.js'),
      import('../../src/config/project.js'),
    ]);
    return runCheckPlugin({
      printer: this.printer,
      path: args.path,
      agentTypes: flags.agent ?? [],
      settings: (await loadProject(process.cwd()))?.config.pluginSettings ?? {},
      timeoutMs: flags['answer-within'],
      strict: flags.strict,
    });
  }
}
