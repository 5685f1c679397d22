import * as Args from '@oclif/core/args';
import * as Flags from '@oclif/core/flags';
import {dryRunFlag} from '../../src/cli/flags.js';
import {ScheduleCommand} from '../../src/cli/schedule-command.js';
import {definitionFlags, requiredFlags} from '../../src/cli/schedule-flags.js';

export default class ScheduleCreate extends ScheduleCommand {
  static override summary = 'Create a schedule: a task that is submitted again and again.';
  static override description = `It fires where \`by serve\` runs. The same schedule created again is the one that is there; another one under its name
is refused. Without --tz its times are UTC.`;
  static override examples = [
    '<%= config.bin %> schedule create nightly-report --cron "30 2 * * *" --tz America/New_York --agent writer --prompt "Write the report."',
    '<%= config.bin %> schedule create watch --cron "*/5 * * * *" --agent watcher --prompt @watch.md --overlap skip --missed once',
  ];
  static override args = {
    name: Args.string({required: true, description: 'its name: small letters, digits, . _ -'}),
  };
  static override flags = {
    ...definitionFlags,
    ...requiredFlags,
    paused: Flags.boolean({description: 'do not fire until it is resumed'}),
    'dry-run': dryRunFlag(),
  };

  async run() {
    const {args, flags} = await this.parse(ScheduleCreate);
    const {definitionOfFlags, withoutNulls} = await import('../../src/cli/schedule-flags.js');
    const {createForPeople} = await import('../../src/cli/schedules.js');
    const given = withoutNulls(await definitionOfFlags(flags, () => this.readStdin('The prompt')));
    const place = await this.place(flags);
    const params = {
      cronExpr: flags.cron,
      prompt: flags.prompt,
      ...given,
      externalId: args.name,
      active: !flags.paused,
    };
    return createForPeople(place, params, flags['dry-run']);
  }
}
