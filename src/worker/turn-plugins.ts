/** One turn as the plugins of its worker see it. Without plugins there is none of this. */
import {ByError} from '../errors.js';
import type {Hooks} from '../plugins/hooks.js';
import type {PluginHost, TurnUse} from '../plugins/host.js';
import type {CallFacts, HookContext, ReturnFacts} from '../plugins/plugin.js';
import type {TurnConfig} from '../plugins/turn-config.js';
import type {ExecutionRecord} from '../protocol/execution.js';
import type {ContextFacts} from './context.js';

/** How a turn ended, as far as it is told. */
export type TurnEnd =
  | {readonly kind: 'done'; readonly status: string; readonly content?: unknown; readonly data?: unknown}
  | {readonly kind: 'failed'; readonly error: unknown; readonly willRetry: boolean}
  | {readonly kind: 'cancelled'; readonly reason: string};

interface Call {
  readonly agentType: string;
  readonly content: unknown;
  readonly metadata?: Readonly<Record<string, unknown>> | undefined;
}

export class TurnPlugins {
  private isStarted = false;
  /** Told once the turn is over and its place is free. */
  private readonly afterwards: (() => Promise<void>)[] = [];
  private seen: HookContext | undefined;

  private constructor(
    private readonly use: TurnUse,
    private readonly facts: ContextFacts,
  ) {}

  static async begin(host: PluginHost, facts: ContextFacts, record: ExecutionRecord): Promise<TurnPlugins> {
    return new TurnPlugins(await host.begin(facts.agentType, record), facts);
  }

  get config(): TurnConfig {
    return this.use.config;
  }

  /** Fields of the execution's record. @param isOver the execution has ended: what continues it begins anew. */
  recordFields(isOver: boolean): Record<string, unknown> {
    const fields = this.use.recordFields();
    return isOver && 'x_config' in fields ? {...fields, x_config: ''} : fields;
  }

  /** Metadata by which a later turn knows what this one works with. */
  get mark(): {readonly by_config?: string} {
    return this.config.agentIds.length === 0 ? {} : {by_config: this.config.hash};
  }

  /** Work with what an earlier turn of the execution has marked, where that is still known. */
  async pin({by_config: hash}: Readonly<Record<string, unknown>>, record: ExecutionRecord): Promise<void> {
    if (typeof hash === 'string') await this.use.pin(hash, record);
  }

  /** The agent's code is about to run. */
  async start(): Promise<void> {
    this.isStarted = true;
    await this.run('onTaskStart');
  }

  /** The end is written. Of a turn whose code never ran nothing is told. */
  ended(end: TurnEnd): void {
    if (!this.isStarted) return;
    switch (end.kind) {
      case 'done': {
        const {status, content = '', data = null} = end;
        this.later(() => this.run('onTaskComplete', {status, content, data}));
        return;
      }
      case 'failed': {
        const {error, willRetry} = end;
        this.later(() => this.run('onTaskError', {error, willRetry}));
        return;
      }
      case 'cancelled':
        this.later(() => this.run('onTaskCancel', {reason: end.reason}));
    }
  }

  /** The turn is over: tell what is still to be told, and let go of its configuration. */
  async finish(): Promise<void> {
    try {
      for (const tell of this.afterwards) await tell();
    } finally {
      this.use.release();
    }
  }

  /** Calls of other agents, sent as one. @param send gets the calls with what hooks added to their metadata. */
  async calls<C extends Call, T>(calls: readonly C[], send: (calls: readonly C[]) => Promise<T>): Promise<T> {
    const facts = calls.map(({agentType, content, metadata}): CallFacts => ({
      ...{agentType, content, metadata: {...metadata}},
    }));
    for (const call of facts) await this.run('onCallAgentStart', call);
    try {
      const sent = await send(calls.map((call, at) => ({...call, metadata: facts[at]?.metadata ?? {}})));
      for (const call of facts) await this.run('onCallAgentComplete', call);
      return sent;
    } catch (error) {
      for (const call of facts) await this.run('onCallAgentError', call, error);
      throw error;
    }
  }

  /** The answer to whoever called, which is written with the end of the turn. */
  async returning<T extends string>(answer: ReturnFacts, write: () => Promise<T>): Promise<T> {
    await this.run('onAgentReturnStart', answer);
    try {
      const outcome = await write();
      if (outcome === 'ok') this.later(() => this.run('onAgentReturnComplete', answer));
      else this.later(() => this.run('onAgentReturnError', answer, notWritten(outcome)));
      return outcome;
    } catch (error) {
      this.later(() => this.run('onAgentReturnError', answer, error));
      throw error;
    }
  }

  private later(tell: () => Promise<void>): void {
    this.afterwards.push(tell);
  }

  private async run(hook: Parameters<Hooks['run']>[0], ...args: readonly unknown[]): Promise<void> {
    const {hooks} = this.use;
    if (hooks.has(hook)) await hooks.run(hook, this.context(), ...args);
  }

  private context(): HookContext {
    const {facts} = this;
    const {header} = facts;
    return (this.seen ??= Object.freeze({
      ...{sessionId: header.sessionId, messageId: facts.messageId, parentMessageId: facts.parentMessageId},
      ...{traceId: header.traceId, executionId: facts.executionId, attempt: facts.attempt},
      ...{agentType: facts.agentType, workerId: facts.workerId},
      ...{userCode: header.userCode, userName: header.userName, metadata: header.metadata},
      ...{config: this.config, log: facts.log},
    }));
  }
}

/** Make a call, and tell the plugins of it if there are any. */
export function withCallHooks<C extends Call, T>(
  plugins: TurnPlugins | undefined,
  call: C,
  send: (call: C) => Promise<T>,
): Promise<T> {
  return plugins === undefined ? send(call) : plugins.calls([call], ([one = call]) => send(one));
}

/** The same for calls that are sent as one. */
export function withGroupHooks<C extends Call, T>(
  plugins: TurnPlugins | undefined,
  calls: readonly C[],
  send: (calls: readonly C[]) => Promise<T>,
): Promise<T> {
  return plugins === undefined ? send(calls) : plugins.calls(calls, send);
}

const notWritten = (outcome: string) =>
  new ByError('FENCED', `The answer was not written: ${outcome}.`, {
    hint: 'Another attempt owns the execution, or it was ended from outside.',
  });
