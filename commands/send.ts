import * as Args from '@oclif/core/args';
import * as Flags from '@oclif/core/flags';
import {BaseCommand} from '../src/cli/base-command.js';
import {ByError} from '../src/errors.js';
import {durationFlag, outputFlag, redisTracesFlag} from '../src/cli/flags.js';

export default class Send extends BaseCommand {
  static override summary = 'Send a message to an agent type.';
  static override description = `CONTENT is the text; "-" reads standard input. What happens when nobody is online is the policy's choice:
  fail-fast       refuse (exit 5)
  send-anyway     put it on the queue, online or not
  wake-and-wait   have a worker started, wait until it is online, then deliver
  wake-and-queue  have a worker started, deliver when it is online, return at once
  queue-only      deliver when somebody comes online by himself, return at once`;
  static override examples = [
    '<%= config.bin %> send echo_bot "hello" --follow',
    'cat report.md | <%= config.bin %> send summarizer - --policy wake-and-wait --follow',
    '<%= config.bin %> send echo_bot "hello" --wait --json',
  ];
  static override args = {
    'agent-type': Args.string({required: true, description: 'who gets it'}),
    content: Args.string({description: 'the text, or - for standard input'}),
  };
  static override flags = {
    policy: Flags.string({
      char: 'p',
      description: 'what to do when nobody is online',
      default: 'fail-fast',
      helpValue: 'POLICY',
    }),
    'availability-timeout': durationFlag({description: 'how long wake-and-wait waits', default: 30_000}),
    deadline: durationFlag({
      description:
        'after this long nobody wants the answer: it is not begun, or asked to stop, and ends FAILED',
    }),
    session: Flags.string({
      char: 's',
      description: 'session to continue; default a new one',
      helpValue: 'ID',
    }),
    worker: Flags.string({description: 'send to this worker alone', helpValue: 'ID'}),
    region: Flags.string({description: 'where a worker should be started'}),
    priority: Flags.integer({
      description: 'higher goes first among waiting deliveries',
      default: 0,
      min: -100,
      max: 100,
    }),
    'user-code': Flags.string({description: 'on whose behalf'}),
    'user-name': Flags.string({description: 'their name'}),
    metadata: Flags.string({
      char: 'm',
      description: 'key=value for the header; repeatable',
      multiple: true,
      multipleNonGreedy: true,
      helpValue: 'K=V',
    }),
    payload: Flags.string({description: 'JSON object for the agent; @FILE reads one', helpValue: 'JSON'}),
    file: Flags.string({
      char: 'f',
      description: 'read the content from a file',
      helpValue: 'FILE',
      exclusive: ['content-json'],
    }),
    'content-json': Flags.boolean({description: 'the content is JSON: an array of objects'}),
    'message-id': Flags.string({description: 'your own id; the same one is accepted once', helpValue: 'ID'}),
    'trace-id': Flags.string({description: 'your own trace id', helpValue: 'ID'}),
    parent: Flags.string({description: 'message this one belongs to', helpValue: 'ID'}),
    wait: Flags.boolean({
      description: 'wait for the end; exit 6 if it failed, 7 if it was cancelled',
      exclusive: ['follow'],
    }),
    follow: Flags.boolean({description: 'stream the answer, then as --wait'}),
    answer: Flags.string({
      description: 'answer to a question on the way; repeatable: the first question gets the first',
      multiple: true,
      multipleNonGreedy: true,
      helpValue: 'TEXT',
    }),
    'redis-traces': redisTracesFlag(),
    'show-keys': Flags.boolean({description: 'show the Redis keys that are written'}),
    'dry-run': Flags.boolean({description: 'show what would be sent, and send nothing'}),
    output: outputFlag('table', 'json', 'jsonl', 'raw'),
  };

  async run() {
    const {args, flags} = await this.parse(Send);
    const [{readContent, readMetadata, readPayload, requirePolicy}, {runSend}] = await Promise.all([
      import('../src/cli/send-input.js'),
      import('../src/cli/run-send.js'),
    ]);
    if (flags.answer !== undefined && !flags.follow && !flags.wait) {
      throw new ByError('USAGE', 'With --answer the command has to wait for the question.', {
        hint: 'Add --follow or --wait.',
      });
    }
    const policy = requirePolicy(flags.policy);
    const content = await readContent({
      argument: args.content,
      file: flags.file,
      isJson: flags['content-json'],
      readStdin: () => this.readStdin('The content'),
    });
    const optional = {
      deadlineMs: flags.deadline,
      sessionId: flags.session,
      workerId: flags.worker,
      region: flags.region,
      userCode: flags['user-code'],
      userName: flags['user-name'],
      messageId: flags['message-id'],
      traceId: flags['trace-id'],
      parentMessageId: flags.parent,
    };
    return runSend({
      store: await this.openStore(),
      printer: this.printer,
      output: this.output,
      signal: this.signal,
      request: {
        agentType: args['agent-type'],
        content,
        policy,
        availabilityTimeoutMs: flags['availability-timeout'],
        priority: flags.priority,
        metadata: readMetadata(flags.metadata ?? []),
        extraPayload: await readPayload(flags.payload),
        ...Object.fromEntries(Object.entries(optional).filter(([, value]) => value !== undefined)),
      },
      answers: flags.answer ?? [],
      ask: await this.askPerson(),
      mode: flags.follow ? 'follow' : flags.wait ? 'wait' : 'send',
      dryRun: flags['dry-run'],
      redisTraces: flags['redis-traces'],
      showKeys: flags['show-keys'],
      setResume: command => (this.resumeWith = [command]),
    });
  }

  /** How the person here is asked; undefined where nobody can be. */
  private async askPerson() {
    if (!this.canPrompt || !['table', 'raw'].includes(this.output)) return undefined;
    const {personAt} = await import('../src/ui/question/ask.js');
    return personAt(this.terminal, this.printer);
  }
}
