import * as Args from '@oclif/core/args';
import * as Flags from '@oclif/core/flags';
import {BaseCommand} from '../../src/cli/base-command.js';
import {durationFlag} from '../../src/cli/flags.js';
import {EXHAUST_REASONS} from '../../src/protocol/orchestration/status.js';

export default class AgentExhaust extends BaseCommand {
  static override summary = 'Say that a worker has used up a quota, and until when.';
  static override description = `A worker of by stops reading its agent types until then, also over restarts, and finishes what it runs. A foreign
worker goes on reading: that is said. What is said last counts only if it lasts longer.`;
  static override examples = [
    '<%= config.bin %> agent exhaust res-3 --for 30m',
    '<%= config.bin %> agent exhaust wr-1 --reason billing --until 2026-12-01T09:00:00Z --note "card declined"',
  ];
  static override args = {worker: Args.string({required: true, description: 'worker id'})};
  static override flags = {
    reason: Flags.option({
      options: EXHAUST_REASONS,
      default: 'rate_limit' as const,
      description: 'what is used up: billing may need more than waiting',
    })(),
    for: durationFlag({description: 'how long (default: 5h)', exclusive: ['until']}),
    until: Flags.string({description: 'when it is there again', helpValue: 'ISO', exclusive: ['for']}),
    scope: Flags.string({
      description: 'only this is used up (a provider, a model, an account): noted, and the worker goes on',
      default: '*',
      helpValue: 'NAME',
    }),
    note: Flags.string({description: 'why; kept with it', default: ''}),
  };

  async run() {
    const {args, flags} = await this.parse(AgentExhaust);
    const {exhaustWorker} = await import('../../src/cli/exhaust-worker.js');
    return exhaustWorker(await this.openStore(), this.printer, {
      ...{workerId: args.worker, reason: flags.reason, forMs: flags.for, until: flags.until},
      ...{scope: flags.scope, note: flags.note},
    });
  }
}
