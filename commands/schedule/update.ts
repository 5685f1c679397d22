import * as Args from '@oclif/core/args';
import * as Flags from '@oclif/core/flags';
import {ScheduleCommand} from '../../src/cli/schedule-command.js';
import {definitionFlags} from '../../src/cli/schedule-flags.js';

export default class ScheduleUpdate extends ScheduleCommand {
  static override summary = 'Change a schedule.';
  static override description = `Other times count from now: what was missed under the old ones is not made good. One that has ended goes on if it is
given a later end or more runs.`;
  static override examples = [
    '<%= config.bin %> schedule update nightly-report --cron "0 4 * * *"',
    '<%= config.bin %> schedule update nightly-report --prompt @report.md --if-version 3',
  ];
  static override args = {name: Args.string({required: true, description: 'its name, or its sch_ id'})};
  static override flags = {
    ...definitionFlags,
    'if-version': Flags.integer({description: 'refuse to change another version than this', min: 1}),
  };

  async run() {
    const {args, flags} = await this.parse(ScheduleUpdate);
    const {definitionOfFlags} = await import('../../src/cli/schedule-flags.js');
    const {updateForPeople} = await import('../../src/cli/schedules.js');
    const patch = await definitionOfFlags(flags, () => this.readStdin('The prompt'));
    const place = await this.place(flags);
    return updateForPeople(place, args.name, patch, flags['if-version']);
  }
}
