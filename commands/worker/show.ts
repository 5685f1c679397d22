import * as Args from '@oclif/core/args';
import {BaseCommand} from '../../src/cli/base-command.js';

export default class WorkerShow extends BaseCommand {
  static override summary = 'Show one worker.';
  static override aliases = ['worker:info'];
  static override args = {worker: Args.string({required: true, description: 'worker id'})};

  async run() {
    const {args} = await this.parse(WorkerShow);
    const [{showWorker}, {relativeTime}, {showFacts}] = await Promise.all([
      import('../../src/registry/listing.js'),
      import('../../src/cli/time.js'),
      import('../../src/cli/facts.js'),
    ]);
    const store = await this.openStore();
    const worker = await showWorker(store, args.worker);
    showFacts(this.printer, [
      ['worker', worker.workerId],
      ['state', worker.reason === '' ? worker.state : `${worker.state} (${worker.reason})`],
      ['agent types', worker.agentTypes.join(', ') || '-'],
      worker.deniedTypes.length === 0 ? undefined : ['barred from', worker.deniedTypes.join(', ')],
      ['lease', worker.leaseMs > 0 ? `${Math.round(worker.leaseMs / 1000)} s left` : 'none'],
      ['heartbeat', worker.lastSeen > 0 ? relativeTime(worker.lastSeen, Date.now()) : 'never'],
      ['host', worker.ipAddress || '-'],
    ]);
    return worker;
  }
}
