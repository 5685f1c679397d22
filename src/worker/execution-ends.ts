/**
 * How executions end, for the circuits of their agent types: counted here, told once a second. What is lost with the
 * process, or with Redis, is not told again: a circuit needs many ends, not each.
 */
import {messageOf} from '../errors.js';
import type {Logger} from '../log.js';
import {countEnds, type ExecutionCircuitRules} from '../store/execution-circuit.js';
import type {Store} from '../store/store.js';

const TELL_EVERY_MS = 1000;

interface Ends {
  ok: number;
  failed: number;
}

export class ExecutionEnds {
  private counts = new Map<string, Ends>();
  private timer: NodeJS.Timeout | undefined;
  private telling: Promise<void> = Promise.resolve();

  constructor(
    private readonly store: Store,
    private readonly rules: ExecutionCircuitRules,
    private readonly log: Logger,
  ) {}

  /** A cancel, and what has not ended yet, say nothing about the agent type. */
  note(agentType: string, status: string): void {
    if (status !== 'COMPLETED' && status !== 'FAILED') return;
    let ends = this.counts.get(agentType);
    if (ends === undefined) this.counts.set(agentType, (ends = {ok: 0, failed: 0}));
    ends[status === 'FAILED' ? 'failed' : 'ok']++;
    this.timer ??= setTimeout(() => void this.flush(), TELL_EVERY_MS);
  }

  /** Resolves when everything noted so far was told, or could not be. */
  flush(): Promise<void> {
    clearTimeout(this.timer);
    this.timer = undefined;
    const counts = this.counts;
    this.counts = new Map<string, Ends>();
    this.telling = this.telling.then(async () => {
      for (const [agentType, ends] of counts) await this.tell(agentType, ends);
    });
    return this.telling;
  }

  private async tell(agentType: string, ends: Ends): Promise<void> {
    try {
      const counted = await countEnds(this.store, agentType, ends, this.rules);
      if (counted.kind === 'opened')
        this.log.warn('circuit opened', {agent_type: agentType, failed: counted.failed, of: counted.of});
      if (counted.kind === 'closed') this.log.info('circuit closed', {agent_type: agentType});
    } catch (error) {
      this.log.warn('counting ends failed', {agent_type: agentType, error: messageOf(error)});
    }
  }
}
