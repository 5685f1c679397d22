import * as Args from '@oclif/core/args';
import * as Flags from '@oclif/core/flags';
import {ScheduleCommand} from '../../src/cli/schedule-command.js';

export default class SchedulePause extends ScheduleCommand {
  static override summary = 'Pause a schedule: it does not fire until it is resumed.';
  static override examples = [
    '<%= config.bin %> schedule pause nightly-report --note "freeze until release"',
  ];
  static override args = {name: Args.string({required: true, description: 'its name, or its sch_ id'})};
  static override flags = {
    note: Flags.string({description: 'why; shown to whoever looks', helpValue: 'TEXT'}),
    'cancel-running': Flags.boolean({description: 'cancel its task that runs, too'}),
  };

  async run() {
    const {args, flags} = await this.parse(SchedulePause);
    const {pauseForPeople} = await import('../../src/cli/schedules.js');
    const place = await this.place(flags);
    return pauseForPeople(place, args.name, {note: flags.note, cancelRunning: flags['cancel-running']});
  }
}
