import * as Flags from '@oclif/core/flags';
import {BaseCommand} from '../../src/cli/base-command.js';
import {outputFlag} from '../../src/cli/flags.js';

export default class TraceList extends BaseCommand {
  static override summary = 'List traces that are kept in Redis.';
  static override description =
    'Workers and clients write them with --redis-traces, other SDKs by themselves; they live for 15 minutes. Without a session, an agent type or a worker this walks the keys of the server.';
  static override examples = [
    '<%= config.bin %> trace list',
    '<%= config.bin %> trace list --agent writer',
    '<%= config.bin %> trace list --session sess-7f3a',
  ];
  static override flags = {
    session: Flags.string({
      char: 's',
      description: 'traces of this session',
      helpValue: 'ID',
      exclusive: ['agent', 'worker'],
    }),
    agent: Flags.string({
      description: 'traces this agent type has part in',
      helpValue: 'TYPE',
      exclusive: ['worker'],
    }),
    worker: Flags.string({description: 'traces this worker has part in', helpValue: 'ID'}),
    limit: Flags.integer({description: 'the newest so many', default: 50, min: 1, max: 10_000}),
    output: outputFlag('table', 'json', 'name'),
  };

  async run() {
    const {flags} = await this.parse(TraceList);
    const {listForPeople} = await import('../../src/cli/traces.js');
    const {session, agent, worker, limit} = flags;
    return listForPeople(await this.openStore(), this.printer, this.output, {session, agent, worker, limit});
  }
}
