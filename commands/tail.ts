import * as Args from '@oclif/core/args';
import * as Flags from '@oclif/core/flags';
import {BaseCommand} from '../src/cli/base-command.js';
import {outputFlag, userFlag} from '../src/cli/flags.js';
import {tailFlags} from '../src/cli/tail-flags.js';

export default class Tail extends BaseCommand {
  static override summary = 'Show the events of a session, and follow them.';
  static override description = `In a terminal it follows, with keys: space pauses, / filters, e events, a agents, t time, r answers a question, q quits.
In a pipe it prints what is there and ends, unless --follow.`;
  static override aliases = ['tail:session'];
  static override examples = [
    '<%= config.bin %> tail sess-7f3a',
    '<%= config.bin %> tail sess-7f3a --no-follow -t',
    '<%= config.bin %> tail sess-7f3a -o jsonl -f | jq -r \'select(.type=="answer").text\'',
  ];
  static override args = {session: Args.string({description: 'session id', required: true})};
  static override flags = {
    ...tailFlags,
    until: Flags.string({
      description: 'with --follow: end with the end of the answer',
      options: ['terminal'],
    }),
    event: Flags.string({
      char: 'e',
      description: 'only these kinds: answer,reasoning,state,artifact,ask,final,end',
      helpValue: 'KINDS',
    }),
    'user-code': userFlag(),
    answer: Flags.string({
      description: 'answer to a question that is asked; repeatable: the first question gets the first',
      multiple: true,
      multipleNonGreedy: true,
      helpValue: 'TEXT',
    }),
    message: Flags.string({description: 'only this message', helpValue: 'ID'}),
    merge: Flags.boolean({description: 'join pieces of an answer into lines', default: true, allowNo: true}),
    ui: Flags.boolean({description: 'with keys and a status line (default in a terminal)', allowNo: true}),
    output: outputFlag('table', 'json', 'jsonl', 'raw'),
  };

  async run() {
    const {args, flags} = await this.parse(Tail);
    const {output: _form, 'user-code': userCode, answer: answers = [], ...chosen} = flags;
    const {runTail} = await import('../src/ui/tail/run-tail.js');
    return runTail({
      store: await this.openStore(),
      printer: this.printer,
      terminal: this.terminal,
      signal: this.signal,
      sessionId: args.session,
      ...chosen,
      ...{userCode, answers},
      output: this.output,
      setResume: command => (this.resumeWith = [command]),
    });
  }
}
