import * as Flags from '@oclif/core/flags';
import {BaseCommand} from '../../src/cli/base-command.js';
import {outputFlag} from '../../src/cli/flags.js';

export default class DeadletterList extends BaseCommand {
  static override summary = 'List commands that will not be tried again by themselves, newest first.';
  static override aliases = ['dlq:list'];
  static override flags = {
    agent: Flags.string({description: 'only this agent type', helpValue: 'TYPE'}),
    code: Flags.string({description: 'only this code, for example EXECUTION_FAILED'}),
    since: Flags.string({
      description: 'only newer than this: 10m, an ISO date, or a stream id',
      helpValue: 'TIME',
    }),
    replayable: Flags.string({description: 'only those that can (not) be replayed', options: ['yes', 'no']}),
    limit: Flags.integer({description: 'most entries', default: 50, min: 1, max: 1000}),
    output: outputFlag('table', 'json', 'jsonl', 'name'),
  };

  async run() {
    const {flags} = await this.parse(DeadletterList);
    const {listForPeople} = await import('../../src/cli/dead-letters.js');
    const store = await this.openStore();
    return {
      entries: await listForPeople(store, this.printer, this.output, {
        agent: flags.agent,
        code: flags.code,
        since: flags.since,
        replayable: flags.replayable,
        limit: flags.limit,
      }),
    };
  }
}
