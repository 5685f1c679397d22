import * as Flags from '@oclif/core/flags';
import {outputFlag} from '../../src/cli/flags.js';
import {ScheduleCommand} from '../../src/cli/schedule-command.js';

export default class ScheduleList extends ScheduleCommand {
  static override summary = 'List schedules: when each fires next, and how the last tick went.';
  static override examples = [
    '<%= config.bin %> schedule list',
    '<%= config.bin %> schedule list --active --agent writer -o name',
  ];
  static override flags = {
    active: Flags.boolean({description: 'only those that will fire', exclusive: ['paused']}),
    paused: Flags.boolean({description: 'only those that are paused'}),
    agent: Flags.string({char: 'a', description: 'only of this agent', helpValue: 'AGENT'}),
    output: outputFlag('table', 'json', 'name'),
  };

  async run() {
    const {flags} = await this.parse(ScheduleList);
    const {listForPeople} = await import('../../src/cli/schedules.js');
    const place = await this.place(flags);
    const state = flags.active ? 'active' : flags.paused ? 'paused' : undefined;
    return listForPeople(place, this.output, {state, agent: flags.agent});
  }
}
