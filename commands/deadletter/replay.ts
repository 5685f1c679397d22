import * as Args from '@oclif/core/args';
import * as Flags from '@oclif/core/flags';
import {BaseCommand} from '../../src/cli/base-command.js';
import {filterFlags, filterOf, rateFlag} from '../../src/cli/dead-letter-flags.js';
import {durationFlag, outputFlag} from '../../src/cli/flags.js';

const POLICIES = ['fail-fast', 'send-anyway', 'wake-and-wait', 'wake-and-queue', 'queue-only'] as const;

export default class DeadletterReplay extends BaseCommand {
  static override summary = 'Put dead letters back to work, each exactly once, the oldest first.';
  static override description = `Without --dry-run the plan is shown first and must be confirmed (or given --yes).
The command keeps its message id and gets a new execution, which names the old one. What was replayed before is skipped;
so is what nobody is online for, unless --policy says otherwise. Who did it, why, and as which execution is kept in the
audit: \`by deadletter show ID\`, \`by deadletter audit\`.

Places for --set are named as \`by deadletter show\` prints them: body.content, body.content.0.text. A value that is JSON is
taken as JSON, anything else as text.`;
  static override aliases = ['dlq:replay'];
  static override examples = [
    '<%= config.bin %> deadletter replay 1716120001-0',
    '<%= config.bin %> deadletter replay --agent translator --rate 2/s --dry-run',
    '<%= config.bin %> deadletter replay --agent translator --set body.content=Hi --reason "INC-12"',
    '<%= config.bin %> deadletter replay 1716120001-0 --edit',
    '<%= config.bin %> deadletter replay --all --concurrency 8 --stop-on-error 10 --yes',
  ];
  static override args = {
    id: Args.string({
      multiple: true,
      description: 'ids from `by deadletter list`; - reads them from standard input',
    }),
  };
  static override flags = {
    all: Flags.boolean({description: 'every entry (see --limit)'}),
    ...filterFlags(),
    'reason-match': Flags.string({
      description: 'only those whose reason matches this regular expression',
      helpValue: 'RE',
    }),
    limit: Flags.integer({description: 'most entries', default: 100, min: 1, max: 10_000}),
    rate: rateFlag({description: 'begin at most so many: 5/s, 30/m, 100/h'}),
    concurrency: Flags.integer({description: 'so many at once', default: 1, min: 1, max: 64, helpValue: 'N'}),
    'stop-on-error': Flags.integer({
      description: 'begin no more after so many have failed',
      min: 1,
      helpValue: 'N',
    }),
    to: Flags.string({description: 'another agent type than it was for', helpValue: 'TYPE'}),
    policy: Flags.option({
      options: POLICIES,
      default: 'fail-fast',
      description: 'what to do when nobody is online',
    })(),
    'availability-timeout': durationFlag({description: 'how long wake-and-wait waits; default 30s'}),
    edit: Flags.boolean({
      description:
        'open the command of one letter in your editor (BY_EDITOR; in a terminal also VISUAL, EDITOR)',
    }),
    set: Flags.string({
      description: 'change a place of the command; may be repeated',
      helpValue: 'path=value',
      multiple: true,
      multipleNonGreedy: true,
    }),
    unset: Flags.string({
      description: 'take a place out of the command; may be repeated',
      helpValue: 'path',
      multiple: true,
      multipleNonGreedy: true,
    }),
    'new-ids': Flags.boolean({description: 'give the message a new id too'}),
    keep: Flags.boolean({description: 'leave the dead letter where it is'}),
    'resume-claimed': Flags.boolean({
      description: 'carry on with replays that were begun and not finished, as they were begun',
    }),
    reason: Flags.string({description: 'why; kept in the audit', default: ''}),
    wait: Flags.boolean({description: 'wait until the new executions end; exit 6 if one failed'}),
    'dry-run': Flags.boolean({description: 'show the plan, and do nothing'}),
    output: outputFlag('table', 'json', 'jsonl'),
  };

  async run() {
    const {argv, flags} = await this.parse(DeadletterReplay);
    const {replayForPeople} = await import('../../src/cli/replay-dead-letters.js');
    const {idsFrom} = await import('../../src/cli/dead-letter-filter.js');
    const {readEdits} = await import('../../src/cli/read-edits.js');
    return replayForPeople(await this.openStore(), this.printer, {
      ids: await idsFrom(argv as string[], () => this.readStdin('The ids')),
      // What was replayed and kept would only be skipped.
      filter: filterOf(flags, {reason: flags['reason-match'], replayed: 'no'}),
      all: flags.all,
      ratePerSecond: flags.rate,
      concurrency: flags.concurrency,
      stopOnError: flags['stop-on-error'],
      options: {
        ...(flags.to === undefined ? {} : {to: flags.to}),
        ...(flags['user-code'] === undefined ? {} : {userCode: flags['user-code']}),
        ...(flags['availability-timeout'] === undefined
          ? {}
          : {availabilityTimeoutMs: flags['availability-timeout']}),
        policy: POLICY_NAMES[flags.policy],
        newIds: flags['new-ids'],
        keep: flags.keep,
        reason: flags.reason,
        resumeClaimed: flags['resume-claimed'],
      },
      edits: readEdits(flags.set ?? [], flags.unset ?? []),
      isEdited: flags.edit,
      editor: this.terminal.editor.anywhere ?? (this.canPrompt ? this.terminal.editor.forPeople : undefined),
      canPrompt: this.canPrompt,
      wait: flags.wait,
      dryRun: flags['dry-run'],
      confirm: question => this.confirm(question),
      signal: this.signal,
    });
  }
}

const POLICY_NAMES = {
  'fail-fast': 'FAIL_FAST',
  'send-anyway': 'SEND_ANYWAY',
  'wake-and-wait': 'WAKE_AND_WAIT',
  'wake-and-queue': 'WAKE_AND_QUEUE',
  'queue-only': 'QUEUE_ONLY',
} as const;
