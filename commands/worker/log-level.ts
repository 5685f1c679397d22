import * as Args from '@oclif/core/args';
import * as Flags from '@oclif/core/flags';
import {BaseCommand} from '../../src/cli/base-command.js';
import {durationFlag} from '../../src/cli/flags.js';

const LEVELS = ['debug', 'info', 'warn', 'error'] as const;

export default class WorkerLogLevel extends BaseCommand {
  static override summary = 'Say how much a worker logs, while it runs; without LEVEL, see it.';
  static override description = `It goes by itself: nobody should find a worker talking weeks later. Workers of other SDKs have no such level.`;
  static override examples = [
    '<%= config.bin %> worker log-level worker-tr-1 debug --for 15m',
    '<%= config.bin %> worker log-level worker-tr-1 --reset',
  ];
  static override args = {
    worker: Args.string({required: true, description: 'worker id'}),
    level: Args.option({options: LEVELS, description: 'log nothing below it'})(),
  };
  static override flags = {
    for: durationFlag({description: 'for how long, at most 7d', default: 3_600_000}),
    reset: Flags.boolean({description: 'let it log as it was started', default: false}),
  };

  async run() {
    const {args, flags} = await this.parse(WorkerLogLevel);
    const {ByError} = await import('../../src/errors.js');
    if (flags.reset && args.level !== undefined)
      throw new ByError('USAGE', 'A level and --reset contradict each other.', {
        hint: 'Leave one of them out.',
      });
    const {changeLogLevel} = await import('../../src/cli/log-levels.js');
    return changeLogLevel(await this.openStore(), this.printer, {
      workerId: args.worker,
      level: args.level,
      forMs: flags.for,
      reset: flags.reset,
    });
  }
}
