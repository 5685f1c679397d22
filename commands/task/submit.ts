import * as Args from '@oclif/core/args';
import * as Flags from '@oclif/core/flags';
import {BaseCommand} from '../../src/cli/base-command.js';
import {durationFlag, outputFlag} from '../../src/cli/flags.js';
import {delayFlags, workspaceFlag} from '../../src/cli/tasks/flags.js';

export default class TaskSubmit extends BaseCommand {
  static override summary =
    'Submit a task to an agent: it is kept, sent when somebody can take it, and tried again if it fails.';
  static override description = `MESSAGE is the text; @FILE reads a file, "-" standard input. The task outlives this command: \`by serve\` brings it to its end.
With --wait the command ends with it: 0 if it is done, 6 if it failed, 7 if it was cancelled, 8 if --timeout passed first.`;
  static override examples = [
    '<%= config.bin %> task submit "Summarise issue 42" --agent researcher --retries 1 --follow',
    '<%= config.bin %> task submit @brief.md --agent writer --delay 10m --expires 2h',
    '<%= config.bin %> task submit "hello" --agent echo_bot --wait --inline',
  ];
  static override args = {
    message: Args.string({required: true, description: 'the text, @FILE, or - for standard input'}),
  };
  static override flags = {
    agent: Flags.string({
      required: true,
      description: 'agent type, key or id of a profile',
      helpValue: 'AGENT',
    }),
    session: Flags.string({
      char: 's',
      description: 'session to go on with; default a new one',
      helpValue: 'ID',
      exclusive: ['session-key'],
    }),
    'session-key': Flags.string({
      description: 'name of a session, made when it is first used',
      helpValue: 'KEY',
    }),
    mode: Flags.string({
      description:
        'what happens if the session is at work: queue, followup, steer, collect, interrupt, reject',
      default: 'followup',
      helpValue: 'MODE',
    }),
    lane: Flags.string({description: 'tasks of other lanes do not count against the same limit'}),
    priority: Flags.option({
      options: ['low', 'normal', 'high', 'urgent'] as const,
      default: 'normal',
      description: 'who goes first',
    })(),
    slot: Flags.option({
      options: ['work', 'on_call'] as const,
      default: 'work',
      description: 'what kind of slot it takes',
    })(),
    ...delayFlags,
    'attempt-timeout': durationFlag({
      description: 'how long a try may take; 0 for as long as it takes',
      default: 600_000,
    }),
    retries: Flags.integer({description: 'further tries after a failure', min: 0, max: 19}),
    'retry-delay': durationFlag({description: 'before each of them'}),
    policy: Flags.string({description: 'execution policy: a JSON file', helpValue: '@FILE'}),
    security: Flags.option({
      options: ['deny', 'allowlist', 'full'] as const,
      description: 'which tools may be used',
    })(),
    ask: Flags.option({
      options: ['off', 'on-miss', 'always'] as const,
      description: 'when a person is asked before',
    })(),
    'workspace-access': Flags.option({
      options: ['none', 'ro', 'rw'] as const,
      description: 'what it may do to its files',
    })(),
    network: Flags.option({options: ['on', 'off'] as const, description: 'whether it may use the network'})(),
    cpu: Flags.string({description: 'cores: 2, 500m'}),
    memory: Flags.string({description: 'memory: 512m, 2g'}),
    'require-enforcement': Flags.string({
      multiple: true,
      delimiter: ',',
      helpValue: 'FIELD',
      description: 'put off until all its workers enforce this: network_enabled, workspace_access, resources',
    }),
    interactive: Flags.boolean({
      allowNo: true,
      description:
        'keep the task open for more input when its run is done; with no-, its agent may not ask a person',
    }),
    route: Flags.string({
      description: 'what to do when nobody is online; default fail-fast, and try again later',
      helpValue: 'POLICY',
    }),
    attach: Flags.string({
      description: 'reference to a file or an address; repeatable',
      multiple: true,
      multipleNonGreedy: true,
      helpValue: 'REF',
    }),
    label: Flags.string({description: 'shown in lists'}),
    'spawned-by': Flags.string({description: 'what submitted it'}),
    system: Flags.string({description: 'more for the system prompt: the text or @FILE', helpValue: 'TEXT'}),
    'retry-of': Flags.string({
      description:
        'submit the task of this run again; MESSAGE takes the place of its text unless it is empty',
      helpValue: 'RUN',
    }),
    'idempotency-key': Flags.string({
      description: 'your own key; the same one is accepted once',
      helpValue: 'KEY',
    }),
    workspace: workspaceFlag(),
    wait: Flags.boolean({description: 'wait for the end, and print the answer', exclusive: ['follow']}),
    follow: Flags.boolean({description: 'show what happens until the end'}),
    inline: Flags.boolean({description: 'run the orchestrator in this process meanwhile; for development'}),
    'dry-run': Flags.boolean({description: 'show what would be submitted, and submit nothing'}),
    output: outputFlag('table', 'json', 'jsonl'),
  };

  async run() {
    const {args, flags} = await this.parse(TaskSubmit);
    const [{paramsOf}, {submitForPeople}] = await Promise.all([
      import('../../src/cli/tasks/params.js'),
      import('../../src/cli/tasks/submit.js'),
    ]);
    const store = await this.openStore();
    const params = await paramsOf(store, args.message, flags, what => this.readStdin(what));
    return submitForPeople({
      store,
      printer: this.printer,
      workspace: flags.workspace,
      params,
      mode: flags.follow ? 'follow' : flags.wait || flags.inline ? 'wait' : 'submit',
      inline: flags.inline,
      dryRun: flags['dry-run'],
      signal: this.signal,
      setResume: command => (this.resumeWith = [command]),
    });
  }
}
