import * as Args from '@oclif/core/args';
import * as Flags from '@oclif/core/flags';
import {BaseCommand} from '../../src/cli/base-command.js';
import {durationFlag, redisTracesFlag, shareFlag} from '../../src/cli/flags.js';

export default class WorkerRun extends BaseCommand {
  static override summary = 'Run agents until told to stop.';
  static override description = `FILE exports what defineAgent returns, or classes that extend GatewayWorker; TypeScript runs as it is.
Without FILE the workers of by.config run, all in this process.
The first Ctrl-C or SIGTERM finishes what runs and stops; the second hands it back at once.`;
  static override aliases = ['run'];
  static override examples = [
    '<%= config.bin %> worker run src/worker.ts',
    '<%= config.bin %> run src/worker.ts --concurrency 10',
  ];
  static override args = {file: Args.string({description: 'file that exports the agents'})};
  static override flags = {
    'worker-id': Flags.string({
      description: 'name of this worker; a live one can not be used twice',
      helpValue: 'ID',
    }),
    concurrency: Flags.integer({description: 'executions at once', min: 1, max: 10_000, helpValue: 'N'}),
    'reserve-on-call': Flags.boolean({
      description: 'keep free for on-call work: while there is some, begin nothing else',
    }),
    'max-attempts': Flags.integer({
      description: 'starts an execution has before it becomes a dead letter (default: 5)',
      ...{min: 1, max: 1000, helpValue: 'N'},
    }),
    lease: durationFlag({
      description: 'how long it keeps its id and its work without a sign of life (default: 15s)',
      min: 500,
    }),
    group: Flags.string({
      description: 'consumer group; all workers of an agent type must share one',
      default: 'agent_engines',
    }),
    plugin: Flags.string({
      description: 'file or folder of a plugin, beside those of by.config; again for more',
      helpValue: 'PATH',
      multiple: true,
    }),
    drain: durationFlag({description: 'how long running work may take after a stop', default: 25_000}),
    'circuit-rate': shareFlag({
      description:
        'open the circuit of an agent type when this share of its executions fail (default: never; by.config may say)',
    }),
    'circuit-min': Flags.integer({
      description: 'but not before so many have ended within the window (default: 20)',
      min: 1,
      dependsOn: ['circuit-rate'],
    }),
    'circuit-window': durationFlag({
      description: 'how far back is looked (default: 1m)',
      dependsOn: ['circuit-rate'],
    }),
    'circuit-open': durationFlag({
      description: 'how long it stays open before one command may try (default: 30s)',
      dependsOn: ['circuit-rate'],
    }),
    sandbox: Flags.boolean({
      description:
        'find out at the start what programs of agents can be held to here, for policies that require it',
    }),
    health: Flags.string({
      description:
        'answer /healthz, /readyz and /metrics (Prometheus) here; a bare port is of this machine only (default: BYAI_WORKER_HEALTH_PORT)',
      helpValue: 'HOST:PORT',
    }),
    'log-format': Flags.option({
      options: ['json', 'pretty'] as const,
      description: 'form of the log on standard error (default: pretty on a terminal, else json)',
    })(),
    'log-level': Flags.option({
      options: ['debug', 'info', 'warn', 'error'] as const,
      description: 'log nothing below it (default: info); by worker log-level changes it while it runs',
    })(),
    'redis-traces': redisTracesFlag(),
    'metrics-history': Flags.boolean({
      description: 'take part in writing the history `by metrics history` shows',
    }),
    check: Flags.boolean({
      description: 'load agents and plugins, say what is wrong with them, and start nothing',
    }),
  };
  protected override readonly endsBySignal = true;

  /** Whether a person reads the log as it comes. */
  private get logsToTerminal(): boolean {
    return this.terminal.isErrorTerminal && this.printer.mode === 'text';
  }

  async run() {
    const {args, flags} = await this.parse(WorkerRun);
    const {runWorkers} = await import('../../src/cli/run-workers.js');
    return runWorkers({
      connection: this.connection,
      printer: this.printer,
      file: args.file,
      workerId: flags['worker-id'],
      concurrency: flags.concurrency,
      reserveOnCall: flags['reserve-on-call'],
      maxAttempts: flags['max-attempts'],
      leaseMs: flags.lease,
      group: flags.group,
      plugins: flags.plugin ?? [],
      drainMs: flags.drain,
      circuit:
        flags['circuit-rate'] === undefined
          ? undefined
          : {
              rate: flags['circuit-rate'],
              min: flags['circuit-min'],
              windowMs: flags['circuit-window'],
              openMs: flags['circuit-open'],
            },
      sandbox: flags.sandbox,
      health: flags.health,
      logFormat: flags['log-format'] ?? (this.logsToTerminal ? 'pretty' : 'json'),
      logLevel: flags['log-level'],
      redisTraces: flags['redis-traces'],
      metricsHistory: flags['metrics-history'],
      check: flags.check,
      stop: this.signal,
      force: this.forceSignal,
    });
  }
}
