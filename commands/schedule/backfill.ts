import * as Args from '@oclif/core/args';
import * as Flags from '@oclif/core/flags';
import {dryRunFlag} from '../../src/cli/flags.js';
import {ScheduleCommand} from '../../src/cli/schedule-command.js';

export default class ScheduleBackfill extends ScheduleCommand {
  static override summary = 'Submit the ticks of a time that has passed, oldest first.';
  static override description = `Those that ran are left out, as far as that is known: the last 1,000 ticks, and what was submitted in the last seven
days. All are submitted one after the other, whatever --overlap says.`;
  static override examples = [
    '<%= config.bin %> schedule backfill nightly-report --from 2026-05-01 --to 2026-05-08 --dry-run',
    '<%= config.bin %> schedule backfill nightly-report --from 12h',
  ];
  static override args = {name: Args.string({required: true, description: 'its name, or its sch_ id'})};
  static override flags = {
    from: Flags.string({description: 'the first moment, or how long ago', helpValue: 'TIME', required: true}),
    to: Flags.string({description: 'the last moment; default now', helpValue: 'TIME'}),
    limit: Flags.integer({description: 'most ticks', default: 100, min: 1, max: 1000}),
    'dry-run': dryRunFlag(),
  };

  async run() {
    const {args, flags} = await this.parse(ScheduleBackfill);
    const {parseMomentOrAgo} = await import('../../src/cli/schedule-flags.js');
    const {backfillForPeople} = await import('../../src/cli/schedules.js');
    const now = Date.now();
    const from = parseMomentOrAgo(flags.from, now);
    const to = flags.to === undefined ? Infinity : parseMomentOrAgo(flags.to, now);
    const place = await this.place(flags);
    return backfillForPeople(place, args.name, {from, to, limit: flags.limit, dryRun: flags['dry-run']});
  }
}
