import * as Flags from '@oclif/core/flags';
import {BaseCommand} from '../../src/cli/base-command.js';
import {durationFlag} from '../../src/cli/flags.js';
import {ByError} from '../../src/errors.js';

export default class ProviderMock extends BaseCommand {
  static override summary = 'Answer wakeups without a cluster: start a command, or fail on demand.';
  static override description = `Modes: ready, reject, fail, queued, timeout, fallback:AGENT_TYPE, flaky:0.3, script:FILE.
A script has a line for each wakeup, [TYPE=]MODE [DELAY]; each agent type takes those that are for it, the last one stays.
READY is believed by senders only when a worker really comes online: with --spawn one does.`;
  static override examples = [
    '<%= config.bin %> provider mock --spawn "by worker run src/worker.ts"',
    '<%= config.bin %> provider mock --mode flaky:0.3 --delay 200ms --agent ocr=reject',
    '<%= config.bin %> provider mock --mode script:outage.txt --seed 7 --record wakeups.jsonl',
    '<%= config.bin %> provider mock --ask',
  ];
  static override flags = {
    mode: Flags.string({description: 'what to answer', default: 'ready'}),
    agent: Flags.string({
      description: 'TYPE=MODE for one agent type; repeatable',
      multiple: true,
      multipleNonGreedy: true,
      helpValue: 'TYPE=MODE',
    }),
    delay: durationFlag({description: 'wait before answering', default: 0}),
    jitter: durationFlag({description: 'wait up to this much longer, at random', default: 0}),
    spawn: Flags.string({
      description: 'command that starts a worker; READY is said once it is online',
      helpValue: 'CMD',
    }),
    seed: Flags.integer({description: 'makes flaky and jitter repeatable'}),
    ask: Flags.boolean({description: 'ask you what to answer, each time; Enter means --mode'}),
    record: Flags.string({
      description: 'append a line of JSON for each wakeup: who, what, when, and the answer',
      helpValue: 'FILE',
    }),
    'dedupe-ttl': durationFlag({
      description:
        'how long one wakeup stands for all of its type, user and region (default, and at most: 30s)',
    }),
    once: Flags.boolean({description: 'end after the first wakeup; a worker it started ends too'}),
  };
  protected override readonly endsBySignal = true;

  async run() {
    const {flags} = await this.parse(ProviderMock);
    if ((flags['dedupe-ttl'] ?? 0) > 30_000) {
      throw new ByError('USAGE', '--dedupe-ttl can not be more than 30s.', {hint: 'Give it 30s or less.'});
    }
    if (flags.ask && !this.canPrompt) {
      throw new ByError('INPUT_NEEDED', 'With --ask you decide each wakeup, and nobody can be asked here.', {
        hint: 'Run it in a terminal, or write the answers into a script: --mode script:FILE.',
      });
    }
    const {runMockProvider} = await import('../../src/cli/run-manager.js');
    return runMockProvider({
      store: await this.openStore(),
      connection: this.connection,
      printer: this.printer,
      signal: this.signal,
      force: this.forceSignal,
      mode: flags.mode,
      perType: flags.agent ?? [],
      delayMs: flags.delay,
      jitterMs: flags.jitter,
      spawn: flags.spawn,
      seed: flags.seed,
      once: flags.once,
      ask: flags.ask,
      record: flags.record,
      dedupeTtlMs: flags['dedupe-ttl'],
    });
  }
}
