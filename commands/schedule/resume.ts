import * as Args from '@oclif/core/args';
import {ScheduleCommand} from '../../src/cli/schedule-command.js';

export default class ScheduleResume extends ScheduleCommand {
  static override summary = 'Resume a schedule from now; what was due while it was paused is left out.';
  static override examples = ['<%= config.bin %> schedule resume nightly-report'];
  static override args = {name: Args.string({required: true, description: 'its name, or its sch_ id'})};

  async run() {
    const {args, flags} = await this.parse(ScheduleResume);
    const {resumeForPeople} = await import('../../src/cli/schedules.js');
    return resumeForPeople(await this.place(flags), args.name);
  }
}
