import * as Args from '@oclif/core/args';
import * as Flags from '@oclif/core/flags';
import {BaseCommand} from '../../src/cli/base-command.js';

export default class AgentShow extends BaseCommand {
  static override summary =
    'Show one agent type: workers, circuit, fallback, queue; or one worker: its status.';
  static override examples = [
    '<%= config.bin %> agent show ocr',
    '<%= config.bin %> agent show worker-tr-1 --history 20',
  ];
  static override args = {type: Args.string({required: true, description: 'agent type, or worker id'})};
  static override flags = {
    history: Flags.integer({
      description: 'how many changes of a worker are shown',
      default: 5,
      min: 0,
      max: 1000,
    }),
  };

  async run() {
    const {args, flags} = await this.parse(AgentShow);
    const {showForPeople} = await import('../../src/cli/agents.js');
    return showForPeople(await this.openStore(), this.printer, args.type, flags.history);
  }
}
