import * as Flags from '@oclif/core/flags';
import {BaseCommand} from '../../src/cli/base-command.js';
import {groupFlag, lastFlag, outputFlag, sessionFlag} from '../../src/cli/flags.js';

export default class ExecList extends BaseCommand {
  static override summary = 'List executions: what waits and runs, or those of a session, a queue, a worker.';
  static override description = `Executions are kept by session, and there is no other index of them. So this lists
  alone               those whose commands are still in the queues of known agent types: what waits and what runs
  --session, --last   every execution of one session, ended ones too
  --agent             those whose command is still in the agent type's queue: what waits and what runs
  --worker            those whose command the worker was given and has not settled: what it runs
--agent and --worker beside a session filter its executions.`;
  static override examples = [
    '<%= config.bin %> exec list',
    '<%= config.bin %> exec list --session sess-7f3a --status FAILED',
    '<%= config.bin %> exec list --agent translator --limit 20',
    '<%= config.bin %> exec list --last -o name',
  ];
  static override flags = {
    session: sessionFlag(),
    last: lastFlag(),
    agent: Flags.string({char: 'a', description: 'this agent type', helpValue: 'TYPE'}),
    worker: Flags.string({description: 'this worker', helpValue: 'ID'}),
    status: Flags.string({description: 'only in this status, for example RUNNING'}),
    limit: Flags.integer({description: 'most executions', default: 100, min: 1, max: 10_000}),
    group: groupFlag(),
    output: outputFlag('table', 'json', 'name'),
  };

  async run() {
    const {flags} = await this.parse(ExecList);
    const {listForPeople} = await import('../../src/cli/executions.js');
    return listForPeople(await this.openStore(), this.printer, this.output, {
      session: flags.session,
      last: flags.last,
      agent: flags.agent,
      worker: flags.worker,
      status: flags.status,
      limit: flags.limit,
      group: flags.group,
    });
  }
}
