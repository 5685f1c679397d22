import * as Flags from '@oclif/core/flags';
import {BaseCommand} from '../../src/cli/base-command.js';
import {durationFlag, outputFlag} from '../../src/cli/flags.js';

const ROLES = ['wakeups', 'pending', 'sweeps'] as const;

export default class ManagerRun extends BaseCommand {
  static override summary = 'Run the manager: carry out wakeups, release pending deliveries.';
  static override description = `Any number of managers may run at once. Workers are started by commands:
--start TYPE=CMD for one agent type, or the workers of by.config. Or a service is asked to start them:
--wakeup-url, by a request signed with the secret in --wakeup-secret-file or BY_WAKEUP_SECRET.
Or --provider says who starts whom; the first PATTERN that fits an agent type counts:
  mock[:MODE]                     as by provider mock
  process:CMD                     a command on this machine
  http:URL                        a service, as --wakeup-url
  docker:CONTAINER                a container that exists
  docker:image=IMAGE[,name=NAME][,network=NET][,env=NAME[:VARIABLE]]…
  kubernetes:NAMESPACE/DEPLOYMENT[,replicas=N][,max=N]
  FILE                            a provider of your own (by provider check FILE)

At the first signal it takes nothing new and finishes what is under way, for --drain; what is not answered by then is
taken up by another manager. With -o jsonl what it does goes to standard output, its log to standard error, as JSON lines.`;
  static override examples = [
    '<%= config.bin %> manager run --start ocr="by worker run src/ocr.ts"',
    '<%= config.bin %> manager run',
    '<%= config.bin %> manager run --provider "ocr*=docker:image=acme/ocr:3" --provider kubernetes:agents/workers',
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
    provider: Flags.string({
      description: 'who starts workers, for all agent types or for those that fit PATTERN; repeatable',
      multiple: true,
      multipleNonGreedy: true,
      helpValue: '[PATTERN=]SPEC',
      exclusive: ['start', 'wakeup-url'],
    }),
    'provider-attempts': Flags.integer({
      description: 'how often a provider is asked for one wakeup, while it fails',
      default: 3,
      min: 1,
      max: 100,
    }),
    'provider-timeout': durationFlag({
      description: 'how long one attempt may take (default: as long as the caller waits)',
    }),
    'wakeup-url': Flags.string({
      description: 'https address of the service that starts workers',
      helpValue: 'URL',
      exclusive: ['start'],
    }),
    'wakeup-secret-file': Flags.string({
      description: 'file with the secret both sides know, at least 32 bytes (default: BY_WAKEUP_SECRET)',
      helpValue: 'FILE',
      relationships: [{type: 'some', flags: ['wakeup-url', 'provider']}],
    }),
    'wakeup-allow-loopback': Flags.boolean({
      description: 'the service may be on this machine, there also by http: for development',
      relationships: [{type: 'some', flags: ['wakeup-url', 'provider']}],
    }),
    'circuit-failures': Flags.integer({
      description: 'open the circuit of an agent type after so many failed wakeups in a row (default: never)',
      min: 1,
    }),
    'circuit-open': durationFlag({
      description: 'for how long, the first time (default: 30s)',
      dependsOn: ['circuit-failures'],
    }),
    'circuit-max': durationFlag({
      description: 'for how long at most; it doubles each time (default: 10m)',
      dependsOn: ['circuit-failures'],
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
      providers: flags.provider ?? [],
      attempts: flags['provider-attempts'],
      attemptTimeoutMs: flags['provider-timeout'],
      pendingDeadlineMs: flags['pending-deadline'],
      circuit:
        flags['circuit-failures'] === undefined
          ? undefined
          : {
              failures: flags['circuit-failures'],
              ...(flags['circuit-open'] === undefined ? {} : {openMs: flags['circuit-open']}),
              ...(flags['circuit-max'] === undefined ? {} : {maxOpenMs: flags['circuit-max']}),
            },
      roles: flags.role ?? [],
      health: flags.health,
      drainMs: flags.drain,
    });
  }
}
