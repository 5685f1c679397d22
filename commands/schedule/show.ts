import * as Args from '@oclif/core/args';
import * as Flags from '@oclif/core/flags';
import {ScheduleCommand} from '../../src/cli/schedule-command.js';

export default class ScheduleShow extends ScheduleCommand {
  static override summary = 'Show a schedule, and what became of its last ticks.';
  static override examples = ['<%= config.bin %> schedule show nightly-report --runs 50'];
  static override args = {name: Args.string({required: true, description: 'its name, or its sch_ id'})};
  static override flags = {
    runs: Flags.integer({description: 'most ticks to show', default: 10, min: 0, max: 1000}),
  };

  async run() {
    const {args, flags} = await this.parse(ScheduleShow);
    const {showForPeople} = await import('../../src/cli/schedules.js');
    return showForPeople(await this.place(flags), args.name, flags.runs);
  }
}
