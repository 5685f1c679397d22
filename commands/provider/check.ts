import * as Args from '@oclif/core/args';
import * as Flags from '@oclif/core/flags';
import {durationFlag} from '../../src/cli/flags.js';
import {LocalCommand} from '../../src/cli/local-command.js';

export default class ProviderCheck extends LocalCommand {
  static override summary = 'Try what a manager relies on, on a provider of your own.';
  static override description = `FILE exports as default an object with name and wakeup(request, context), or that function; TypeScript runs as it is.
It is asked as a manager would: again and at once for the same request, for agent types nobody knows, with a caller
who goes away. It really starts what it starts. No Redis is needed. A problem is exit code 12.`;
  static override examples = [
    '<%= config.bin %> provider check src/provider.ts --agent ocr',
    '<%= config.bin %> provider check src/provider.ts --json',
  ];
  static override args = {
    file: Args.string({description: 'file that exports the provider', required: true}),
  };
  static override flags = {
    agent: Flags.string({description: 'an agent type it starts', helpValue: 'TYPE'}),
    'answer-within': durationFlag({description: 'how long each answer may take', default: 5000}),
    strict: Flags.boolean({description: 'exit 12 also for warnings'}),
  };

  async run() {
    const {args, flags} = await this.parse(ProviderCheck);
    const {runCheckProvider} = await import('../../src/cli/run-check-provider.js');
    return runCheckProvider({
      printer: this.printer,
      file: args.file,
      agentType: flags.agent,
      timeoutMs: flags['answer-within'],
      strict: flags.strict,
    });
  }
}
