import * as Args from '@oclif/core/args';
import * as Flags from '@oclif/core/flags';
import {BaseCommand} from '../../src/cli/base-command.js';
import {durationFlag} from '../../src/cli/flags.js';

export default class PluginReload extends BaseCommand {
  static override summary = 'Let the workers of an agent type load their plugins again, while they work.';
  static override description = `Each worker loads the plugins it was started with, and no others: all of them, or it keeps what it has. Tasks that
run keep the configuration they began with. Exit code 10 if a worker failed or did not answer.`;
  static override examples = [
    '<%= config.bin %> plugin reload writer --wait 10s',
    '<%= config.bin %> plugin reload writer --reason "new prompts" --wait 30s --json',
  ];
  static override args = {type: Args.string({required: true, description: 'agent type'})};
  static override flags = {
    wait: durationFlag({description: 'wait so long for the answers of all workers (default: do not wait)'}),
    reason: Flags.string({description: 'kept with the reload and in the answers', default: ''}),
  };

  async run() {
    const {args, flags} = await this.parse(PluginReload);
    const {runReload} = await import('../../src/cli/plugins.js');
    return runReload(await this.openStore(), this.printer, {
      agentType: args.type,
      reason: flags.reason,
      waitMs: flags.wait,
      signal: this.signal,
    });
  }
}
