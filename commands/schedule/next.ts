import * as Args from '@oclif/core/args';
import * as Flags from '@oclif/core/flags';
import {ScheduleCommand} from '../../src/cli/schedule-command.js';
import {ByError} from '../../src/errors.js';

export default class ScheduleNext extends ScheduleCommand {
  static override summary = 'Show when a schedule, or a cron expression, fires next.';
  static override description = `First what the clocks of the zone show, then UTC. With --cron no server is asked. --explain says where clocks change: a
time that does not exist (gap), or comes twice (overlap).`;
  static override examples = [
    '<%= config.bin %> schedule next nightly-report --explain',
    '<%= config.bin %> schedule next --cron "30 2 * * *" --tz America/New_York --from 2026-03-07T00:00:00Z -n 3 --explain',
  ];
  static override args = {name: Args.string({description: 'name of a schedule, or its sch_ id'})};
  static override flags = {
    cron: Flags.string({description: 'an expression, in place of a schedule', helpValue: 'EXPRESSION'}),
    tz: Flags.string({description: 'its time zone; default UTC', helpValue: 'ZONE', dependsOn: ['cron']}),
    count: Flags.integer({char: 'n', description: 'how many ticks', default: 10, min: 1, max: 1000}),
    from: Flags.string({description: 'after this moment; default now', helpValue: 'TIME'}),
    explain: Flags.boolean({description: 'say where clocks change'}),
  };

  async run() {
    const {args, flags} = await this.parse(ScheduleNext);
    const {name} = args;
    const {cron, tz = 'UTC', count, explain} = flags;
    if ((name === undefined) === (cron === undefined)) {
      throw new ByError('USAGE', 'Say whose ticks: of a schedule, or of an expression.', {
        hint: 'Name a schedule, or give --cron and --tz.',
        next: ['by schedule list'],
      });
    }
    const {parseMoment} = await import('../../src/cli/schedule-flags.js');
    const {nextOfExpression, nextOfSchedule} = await import('../../src/cli/schedules.js');
    const request = {
      count,
      explain,
      from: flags.from === undefined ? undefined : new Date(parseMoment(flags.from)),
    };
    if (name === undefined || cron !== undefined)
      return nextOfExpression(this.printer, cron ?? '', tz, request);
    return nextOfSchedule(await this.place(flags), name, request);
  }
}
