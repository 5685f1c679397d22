import * as Args from '@oclif/core/args';
import * as Flags from '@oclif/core/flags';
import {BaseCommand} from '../src/cli/base-command.js';
import {durationFlag} from '../src/cli/flags.js';

export default class Dev extends BaseCommand {
  static override summary =
    'Start everything a project needs on this machine: store, manager, workers with hot reload.';
  static override description = `Nothing has to be installed: without --redis-url an embedded store is started, for development only.
Other terminals in the same project find it by themselves.`;
  static override examples = [
    '<%= config.bin %> dev',
    '<%= config.bin %> dev src/worker.ts',
    '<%= config.bin %> dev --store redis --persist',
  ];
  static override args = {
    entry: Args.string({
      multiple: true,
      description: 'files that export agents; default the workers of by.config',
    }),
  };
  static override flags = {
    port: Flags.integer({
      description: 'port of the store; another is taken when it is not free',
      default: 6379,
      min: 1,
      max: 65_535,
    }),
    store: Flags.string({
      description: 'which store to start',
      options: ['embedded', 'redis'],
      default: 'embedded',
    }),
    persist: Flags.boolean({description: 'keep the data in .by/redis (with --store redis)'}),
    workers: Flags.boolean({
      description: 'start the workers now, not only when they are asked for',
      default: true,
      allowNo: true,
    }),
    watch: Flags.boolean({
      description: 'restart workers when their code changes',
      default: true,
      allowNo: true,
    }),
    manager: Flags.boolean({
      description: 'carry out wakeups and pending deliveries',
      default: true,
      allowNo: true,
    }),
    provider: Flags.string({
      description:
        "who starts sleeping workers: auto (the project's own), none, a mode of the mock provider, or a file of yours",
      default: 'auto',
    }),
    health: Flags.string({
      description:
        'let the manager answer /healthz, /readyz and /metrics (Prometheus) here; a bare port is of this machine only',
      helpValue: 'HOST:PORT',
      relationships: [
        {type: 'none', flags: [{name: 'manager', when: async flags => flags['manager'] === false}]},
      ],
    }),
    drain: durationFlag({
      description: 'how long running work may take when a worker is replaced',
      default: 5000,
    }),
  };
  protected override readonly endsBySignal = true;

  async run() {
    const {argv, flags} = await this.parse(Dev);
    const {runDev} = await import('../src/cli/run-dev.js');
    return runDev({
      connection: this.connection,
      printer: this.printer,
      entries: argv as string[],
      port: flags.port,
      storeKind: flags.store === 'redis' ? 'redis' : 'embedded',
      persist: flags.persist,
      startWorkers: flags.workers,
      watch: flags.watch,
      manager: flags.manager,
      provider: flags.provider,
      drainMs: flags.drain,
      health: flags.health,
      signal: this.signal,
      canRead: this.canPrompt,
    });
  }
}
