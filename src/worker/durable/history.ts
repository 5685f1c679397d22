/** A durable agent's history: what it read is kept in its journal, and what it saved it does not save again. */
import {checkedLimit, type HistoryMessage, type HistoryRole} from '../../history/backend.js';
import type {Content} from '../../protocol/commands.js';
import type {SessionHistory, TurnHistory} from '../turn-history.js';
import type {StepOptions} from './context.js';

export interface HistorySteps {
  /** Whether the code that asks is inside of a step: then its result is the step's. */
  isInStep(): boolean;
  /** Which run of the execution this is. */
  readonly run: number;
  step<T>(name: string, effect: () => Promise<T>, options: StepOptions): Promise<T>;
}

/** Bytes of one read that the journal keeps. The oldest messages are left out beyond. */
const MAX_READ_BYTES = 512 * 1024;
const READ: StepOptions = {retry: {maxAttempts: 3}};

export class DurableHistory implements SessionHistory {
  constructor(
    private readonly inner: TurnHistory,
    private readonly steps: HistorySteps,
  ) {}

  async get(limit?: number): Promise<HistoryMessage[]> {
    const most = checkedLimit(limit);
    if (this.steps.isInStep()) return this.inner.get(most);
    return this.steps.step('history.get', async () => newestThatFit(await this.inner.get(most)), READ);
  }

  async save(
    role: HistoryRole,
    content: Content,
    metadata: Readonly<Record<string, unknown>> = {},
  ): Promise<void> {
    if (this.steps.isInStep()) return this.inner.save(role, content, metadata);
    this.inner.check(role, content, metadata);
    // Counted each time the code runs, whether it is saved or was: so the key is the same.
    const key = this.inner.keyOf(`run-${this.steps.run}`, role, content);
    await this.steps.step('history.save', () => this.inner.saveUnder(key, role, content, metadata), {});
  }
}

function newestThatFit(messages: readonly HistoryMessage[]): HistoryMessage[] {
  let left = MAX_READ_BYTES;
  const first = messages.findLastIndex(message => {
    left -= Buffer.byteLength(JSON.stringify(message));
    return left < 0;
  });
  return messages.slice(first + 1);
}
