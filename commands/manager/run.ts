import * as Flags from '@oclif/core/flags';
import {BaseCommand} from '../../src/cli/base-command.js';
import {durationFlag, outputFlag} from '../../src/cli/flags.js';

const ROLES = ['wakeups', 'pending', 'sweeps'] as const;

export default class ManagerRun extends BaseCommand {
  static override summary = 'Run the manager: carry out wakeups, release pending deliveries.';
  static override description = `Any number of managers may run at once. Workers are started by commands:
--start TYPE=CMD for one agent type, or the workers of by.config. Or a service is asked to start them:
--wakeup-url, by a request signed with the secret in --wakeup-secret-file or BY_WAKEUP_SECRET.

At the first signal it takes nothing new and finishes what is under way, for --drain; what is not answered by then is
taken up by another manager. With -o jsonl what it does goes to standard output, its log to standard error, as JSON lines.`;
  static override examples = [
    '<%= config.bin %> manager run --start ocr="by worker run src/ocr.ts"',
    '<%= config.bin %> manager run --health 9464',
    '<%= config.bin %> manager run --wakeup-url https://wake.example.com/start --wakeup-secret-file secret',
  ];
  static override flags = {
    start: Flags.string({
      description: 'TYPE=CMD: the command that starts a worker of an agent type; repeatable',
      multiple: true,
      multipleNonGreedy: true,
      helpValue: 'TYPE=CMD',
    }),
    'wakeup-url': Flags.string({
      description: 'https address of the service that starts workers',
      helpValue: 'URL',
      exclusive: ['start'],
    }),
    'wakeup-secret-file': Flags.string({
      description: 'file with the secret both sides know, at least 32 bytes (default: BY_WAKEUP_SECRET)',
      helpValue: 'FILE',
      dependsOn: ['wakeup-url'],
    }),
    'wakeup-allow-loopback': Flags.boolean({
      description: 'the service may be on this machine, there also by http: for development',
      dependsOn: ['wakeup-url'],
    }),
    role: Flags.option({
      options: ROLES,
      description: 'only this part of the work; repeatable; default: all',
      multiple: true,
      multipleNonGreedy: true,
    })(),
    health: Flags.string({
      description:
        'answer /healthz, /readyz and /metrics (Prometheus) here; a bare port is of this machine only',
      helpValue: 'HOST:PORT',
    }),
    drain: durationFlag({description: 'how long wakeups under way may take at the end', default: 25_000}),
    'pending-deadline': durationFlag({
      description: 'how long a pending delivery may wait before it becomes a dead letter',
      default: 86_400_000,
    }),
    output: outputFlag('table', 'json', 'jsonl'),
  };
  protected override readonly endsBySignal = true;

  async run() {
    const {flags} = await this.parse(ManagerRun);
    const {runManager} = await import('../../src/cli/run-manager.js');
    return runManager({
      store: await this.openStore(),
      connection: this.connection,
      printer: this.printer,
      signal: this.signal,
      force: this.forceSignal,
      start: flags.start ?? [],
      wakeupUrl: flags['wakeup-url'],
      wakeupSecretFile: flags['wakeup-secret-file'],
      allowLoopback: flags['wakeup-allow-loopback'],
      pendingDeadlineMs: flags['pending-deadline'],
      roles: flags.role ?? [],
      health: flags.health,
      drainMs: flags.drain,
    });
  }
}
