import * as Flags from '@oclif/core/flags';
import {BaseCommand} from '../src/cli/base-command.js';
import {durationFlag, outputFlag} from '../src/cli/flags.js';
import {workspaceFlag} from '../src/cli/tasks/flags.js';

export default class Serve extends BaseCommand {
  static override summary = 'Run an orchestrator: it brings tasks to their end.';
  static override description = `Any number may run beside each other, on any machine; one that dies is made up for by the others.
  dispatcher  sends what is ready
  projector   watches what runs
  scheduler   submits what schedules have due
  status      keeps the status of workers: silent ones are offline, used-up quotas come back
  sweeper     stops what takes too long, gives up lost workers, drops what expired
With --http it also answers requests: tasks, runs, approvals, agents and schedules, as /openapi.json says.`;
  static override examples = [
    '<%= config.bin %> serve',
    '<%= config.bin %> serve --roles dispatcher,projector --workspace team-a',
    '<%= config.bin %> serve --http 8930',
    'BY_SERVE_TOKEN=$(openssl rand -hex 32) <%= config.bin %> serve --roles none --http 0.0.0.0:8930',
  ];
  static override flags = {
    roles: Flags.string({
      description: 'only these, separated by commas; default all; none with --http',
      helpValue: 'ROLE[,ROLE]',
    }),
    http: Flags.string({
      description: 'answer requests over HTTP here; a bare port is of this machine only',
      helpValue: 'HOST:PORT',
    }),
    'token-file': Flags.string({
      description: 'file with the token HTTP clients must show (default: BY_SERVE_TOKEN)',
      helpValue: 'FILE',
      dependsOn: ['http'],
    }),
    drain: durationFlag({description: 'how long what is under way may take at the end', default: 30_000}),
    'enforce-exhausted': Flags.boolean({
      description: 'suspend foreign workers while they are exhausted (role status)',
    }),
    'open-circuit': Flags.boolean({
      description: 'open the circuit of agent types whose foreign workers are all exhausted (role status)',
    }),
    'ack-orphans': Flags.boolean({
      description: 'settle what dead foreign workers left of attempts that were given up (role sweeper)',
    }),
    workspace: workspaceFlag(),
    output: outputFlag('table', 'json', 'jsonl'),
  };
  protected override readonly endsBySignal = true;

  async run() {
    const {flags} = await this.parse(Serve);
    const {runServe} = await import('../src/cli/tasks/run-serve.js');
    return runServe({
      store: await this.openStore(),
      printer: this.printer,
      workspace: flags.workspace,
      roles: flags.roles?.split(',').map(role => role.trim()) ?? [],
      signal: this.signal,
      force: this.forceSignal,
      drainMs: flags.drain,
      enforceExhausted: flags['enforce-exhausted'],
      openCircuit: flags['open-circuit'],
      ackOrphans: flags['ack-orphans'],
      http: flags.http,
      tokenFile: flags['token-file'],
      version: this.config.version,
    });
  }
}
