/** `by add`: something more for a project that is there. */
import * as Args from '@oclif/core/args';
import * as Flags from '@oclif/core/flags';
import {dryRunFlag} from '../src/cli/flags.js';
import {LocalCommand} from '../src/cli/local-command.js';

export default class Add extends LocalCommand {
  static override summary = 'Add a worker, a plugin, a provider or a test to the project.';
  static override description = `Writes NAME.ts below src and a test that passes below test, and enters it in by.config. Nothing that is there is overwritten:
a file of that name is exit code 11. Where by.config is written so that no place for it is found, it says what to add.`;
  static override examples = [
    '<%= config.bin %> add worker translator',
    '<%= config.bin %> add plugin glossary --agent-type translator --dry-run',
    '<%= config.bin %> add test translator',
  ];
  static override args = {
    what: Args.string({
      description: 'worker, plugin, provider or test',
      required: true,
      options: ['worker', 'plugin', 'provider', 'test'],
    }),
    name: Args.string({
      description: 'name of the file; of a test, the worker by its file or agent type',
      required: true,
    }),
  };
  static override flags = {
    'agent-type': Flags.string({description: 'what it serves or is for; default: the name, with _ for -'}),
    'dry-run': dryRunFlag(),
  };

  async run() {
    const {args, flags} = await this.parse(Add);
    const {runAdd} = await import('../src/cli/run-add.js');
    return runAdd(this.printer, {
      part: args.what as 'worker',
      name: args.name,
      agentType: flags['agent-type'],
      dryRun: flags['dry-run'],
      cwd: process.cwd(),
    });
  }
}
