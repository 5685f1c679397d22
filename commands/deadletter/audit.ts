import * as Flags from '@oclif/core/flags';
import {BaseCommand} from '../../src/cli/base-command.js';
import {outputFlag} from '../../src/cli/flags.js';

export default class DeadletterAudit extends BaseCommand {
  static override summary = 'Who replayed and dropped which dead letters, and why, newest first.';
  static override aliases = ['dlq:audit'];
  static override flags = {
    limit: Flags.integer({description: 'most entries', default: 50, min: 1, max: 10_000}),
    output: outputFlag('table', 'json', 'jsonl'),
  };

  async run() {
    const {flags} = await this.parse(DeadletterAudit);
    const {auditForPeople} = await import('../../src/cli/dead-letters.js');
    return auditForPeople(await this.openStore(), this.printer, flags.limit);
  }
}
