import * as Args from '@oclif/core/args';
import * as Flags from '@oclif/core/flags';
import {dryRunFlag} from '../../src/cli/flags.js';
import {ScheduleCommand} from '../../src/cli/schedule-command.js';

export default class ScheduleRunNow extends ScheduleCommand {
  static override summary = "Submit a schedule's task now, out of its turn.";
  static override description = `Its times do not change, a paused one stays paused, and whether its task runs already does not matter.`;
  static override examples = ['<%= config.bin %> schedule run-now nightly-report'];
  static override args = {name: Args.string({required: true, description: 'its name, or its sch_ id'})};
  static override flags = {
    'idempotency-key': Flags.string({description: 'the same key again is the same task', helpValue: 'KEY'}),
    'dry-run': dryRunFlag(),
  };

  async run() {
    const {args, flags} = await this.parse(ScheduleRunNow);
    const {runNowForPeople} = await import('../../src/cli/schedules.js');
    const place = await this.place(flags);
    return runNowForPeople(place, args.name, {key: flags['idempotency-key'], dryRun: flags['dry-run']});
  }
}
