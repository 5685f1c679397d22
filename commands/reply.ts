import * as Args from '@oclif/core/args';
import * as Flags from '@oclif/core/flags';
import {BaseCommand} from '../src/cli/base-command.js';
import {lastFlag, sessionFlag, userFlag} from '../src/cli/flags.js';

export default class Reply extends BaseCommand {
  static override summary = 'Answer what an agent asks.';
  static override description = `The first answer to a question counts; whoever comes later is told so (exit 11).
Without TEXT it asks in a terminal, and elsewhere lists what waits for an answer.`;
  static override examples = [
    '<%= config.bin %> reply sess-7f3a yes',
    '<%= config.bin %> reply exec-5d10 "staging" --session sess-7f3a',
    '<%= config.bin %> reply --last',
    'cat report.md | <%= config.bin %> reply sess-7f3a -',
  ];
  static override args = {
    target: Args.string({description: 'execution that asks, or a session where one question is open'}),
    text: Args.string({description: 'the answer, or - for standard input'}),
  };
  static override flags = {
    session: sessionFlag(),
    last: lastFlag(),
    question: Flags.string({
      description: 'which question, where an execution asks several',
      helpValue: 'ID',
    }),
    status: Flags.string({
      description: 'status of the answer; a durable agent takes every other than COMPLETED for a failure',
      helpValue: 'STATUS',
    }),
    data: Flags.string({
      description: 'JSON beside the text, or in its place; @FILE reads one',
      helpValue: 'JSON',
    }),
    continue: Flags.boolean({description: 'go on with an execution that has ended'}),
    'reply-id': Flags.string({description: 'your own id; the same one is accepted once', helpValue: 'ID'}),
    'user-code': userFlag(),
    'user-name': Flags.string({description: 'their name'}),
  };

  async run() {
    const {args, flags} = await this.parse(Reply);
    const [{runReply}, {readJson}] = await Promise.all([
      import('../src/cli/run-reply.js'),
      import('../src/cli/send-input.js'),
    ]);
    const given = {
      questionId: flags.question,
      status: flags.status,
      data: flags.data === undefined ? undefined : await readJson('The data', flags.data),
      continues: flags.continue,
      replyId: flags['reply-id'],
      userCode: flags['user-code'],
      userName: flags['user-name'],
    };
    const [target, text] =
      flags.last && args.text === undefined ? [undefined, args.target] : [args.target, args.text];
    return runReply(await this.openStore(), this.printer, {
      ...{target, session: flags.session, last: flags.last, signal: this.signal},
      text: text === '-' ? (await this.readStdin('The answer')).replace(/\r?\n$/, '') : text,
      given: Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)),
      ask: await this.askPerson(),
    });
  }

  /** How the person here is asked; undefined where nobody can be. */
  private async askPerson() {
    if (!this.canPrompt) return undefined;
    const {personAt} = await import('../src/ui/question/ask.js');
    return personAt(this.terminal, this.printer);
  }
}
