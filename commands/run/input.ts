import * as Args from '@oclif/core/args';
import * as Flags from '@oclif/core/flags';
import {durationFlag} from '../../src/cli/flags.js';
import {workspaceFlag} from '../../src/cli/tasks/flags.js';
import {WorkspaceCommand} from '../../src/cli/workspace-command.js';
import {OVERFLOWS, type Overflow} from '../../src/protocol/orchestration/input.js';

export default class RunInput extends WorkspaceCommand {
  static override summary =
    'Say something to a run: its answer, its next turn, or in the place of what it does.';
  static override description = `If the run waits for an answer, this is it; if it has ended, its task is taken up again. Else --mode decides:
  followup   the next turn of this run
  queue      a task of its own, behind those that wait for the session
  collect    as followup, together with what comes within half a second
  steer      into the running turn, where its worker can; else as followup
  interrupt  stop what runs, and go on with this
  reject     refuse it (exit 11)`;
  static override examples = [
    '<%= config.bin %> run input run_01JD3K2M "also check 43"',
    '<%= config.bin %> run input run_01JD3K2M "stop, do this" --mode interrupt',
  ];
  static override args = {
    run: Args.string({required: true, description: 'its id, or how it begins'}),
    message: Args.string({required: true, description: 'the text, @FILE, or - for standard input'}),
  };
  static override flags = {
    mode: Flags.string({
      description: 'what happens if the run is at work',
      default: 'followup',
      helpValue: 'MODE',
    }),
    overflow: Flags.string({
      description: 'with collect: what happens if twenty wait already (default: drop_old)',
      options: OVERFLOWS,
    }),
    'discard-buffered': Flags.boolean({
      description: 'with interrupt: drop what was said before and not delivered',
    }),
    'force-after': durationFlag({
      description: 'with interrupt: go on after this long though the old turn may still run',
    }),
    'idempotency-key': Flags.string({
      description: 'your own key; the same one is accepted once',
      helpValue: 'KEY',
    }),
    workspace: workspaceFlag(),
  };

  async run() {
    const {args, flags} = await this.parse(RunInput);
    const {inputForPeople} = await import('../../src/cli/tasks/input.js');
    const {textOf} = await import('../../src/cli/tasks/params.js');
    const at = await this.at(flags);
    return inputForPeople(at, args.run, {
      mode: flags.mode,
      message: await textOf(args.message, 'The message', what => this.readStdin(what)),
      overflow: flags.overflow as Overflow | undefined,
      discardBuffered: flags['discard-buffered'],
      forceAfterMs: flags['force-after'],
      idempotencyKey: flags['idempotency-key'],
      signal: this.signal,
    });
  }
}
