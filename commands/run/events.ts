import * as Args from '@oclif/core/args';
import * as Flags from '@oclif/core/flags';
import {outputFlag} from '../../src/cli/flags.js';
import {workspaceFlag} from '../../src/cli/tasks/flags.js';
import {WorkspaceCommand} from '../../src/cli/workspace-command.js';

export default class RunEvents extends WorkspaceCommand {
  static override summary = 'Show what happened to a run, event by event.';
  static override examples = ['<%= config.bin %> run events run_01JD3K2M --follow'];
  static override args = {run: Args.string({required: true, description: 'its id, or how it begins'})};
  static override flags = {
    follow: Flags.boolean({description: 'go on until the run has ended'}),
    from: Flags.integer({description: 'the first number to show', min: 0, default: 0}),
    kind: Flags.option({
      options: ['input', 'control', 'lifecycle'] as const,
      description: 'only of this kind',
    })(),
    workspace: workspaceFlag(),
    output: outputFlag('table', 'json', 'jsonl'),
  };
  protected override readonly endsBySignal = true;

  async run() {
    const {args, flags} = await this.parse(RunEvents);
    const {eventsForPeople} = await import('../../src/cli/tasks/runs.js');
    const at = await this.at(flags);
    const {follow, from, kind} = flags;
    return eventsForPeople(at, args.run, {follow, from, kind, signal: this.signal});
  }
}
