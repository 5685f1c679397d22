import * as Args from '@oclif/core/args';
import * as Flags from '@oclif/core/flags';
import {BaseCommand} from '../../src/cli/base-command.js';

export default class TraceShow extends BaseCommand {
  static override summary =
    'Show what happened in a trace, and when: every call, step and question, as a timeline.';
  static override examples = [
    '<%= config.bin %> trace show 8c1e90b24f5d4f1e8b0d3f2a7c6e5d41',
    '<%= config.bin %> trace show "$(by trace list --agent writer --limit 1 -o name)"',
  ];
  static override args = {trace: Args.string({required: true, description: 'trace id'})};
  static override flags = {
    depth: Flags.integer({description: 'deepest level to show', default: 50, min: 0, max: 1000}),
  };

  async run() {
    const {args, flags} = await this.parse(TraceShow);
    const {showForPeople} = await import('../../src/cli/traces.js');
    return showForPeople(await this.openStore(), this.printer, args.trace, flags.depth);
  }
}
