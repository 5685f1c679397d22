import * as Args from '@oclif/core/args';
import * as Flags from '@oclif/core/flags';
import {ScheduleCommand} from '../../src/cli/schedule-command.js';

export default class ScheduleDelete extends ScheduleCommand {
  static override summary = 'Delete a schedule; its tasks are kept.';
  static override examples = ['<%= config.bin %> schedule delete nightly-report --yes'];
  static override args = {name: Args.string({required: true, description: 'its name, or its sch_ id'})};
  static override flags = {
    'cancel-running': Flags.boolean({description: 'cancel its task that runs, too'}),
  };

  async run() {
    const {args, flags} = await this.parse(ScheduleDelete);
    const {deleteForPeople} = await import('../../src/cli/schedules.js');
    const place = await this.place(flags);
    return deleteForPeople(place, args.name, {
      cancelRunning: flags['cancel-running'],
      confirm: question => this.confirm(question),
    });
  }
}
