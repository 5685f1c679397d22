import * as Flags from '@oclif/core/flags';
import {BaseCommand} from '../../src/cli/base-command.js';
import {outputFlag} from '../../src/cli/flags.js';

export default class SessionList extends BaseCommand {
  static override summary = 'List sessions, those heard of last first.';
  static override description = `There is no index of sessions: this walks the keys of the server, about --look of them. On a large server it takes a
while, though it holds up nobody.`;
  static override examples = [
    '<%= config.bin %> session list',
    '<%= config.bin %> session list --limit 5 -o name',
  ];
  static override flags = {
    limit: Flags.integer({description: 'most sessions', default: 20, min: 1, max: 1000}),
    look: Flags.integer({
      description: 'most keys to look at on each server, roughly',
      default: 100_000,
      min: 1000,
      max: 100_000_000,
    }),
    output: outputFlag('table', 'json', 'name'),
  };

  async run() {
    const {flags} = await this.parse(SessionList);
    const {listForPeople} = await import('../../src/cli/sessions.js');
    const {limit, look} = flags;
    return listForPeople(await this.openStore(), this.printer, this.output, {limit, look});
  }
}
