/**
 * Around every provider: attempts, a time for each, a circuit. Whatever the provider does (throws, hangs, answers
 * nonsense, answers when nobody waits for it any more), a wakeup gets one decision, and the provider gets a copy of the
 * request, so that nothing it does to it is kept.
 */
import {backoffMs, type BackoffOptions} from '../backoff.js';
import {sleep} from '../clock.js';
import {messageOf} from '../errors.js';
import {silentLogger, type Logger} from '../log.js';
import type {WakeupRequest} from '../protocol/wakeup.js';
import {readAnswer} from './provider-answer.js';
import {
  admit,
  CLOSED,
  settle,
  type CircuitOptions,
  type CircuitState,
  type Outcome,
} from './provider-circuit.js';
import type {Provider, ProviderContext, ProviderDecision} from './provider.js';

export interface ProviderRunOptions {
  /**
   * How often a provider is asked for one wakeup, at most: again after it threw, gave no usable answer in time, or said
   * FAILED. Its other answers are final. Default 1, as in the SDKs.
   */
  readonly attempts?: number;
  /** Milliseconds of one attempt. Default: as long as the caller waits. */
  readonly attemptTimeoutMs?: number;
  /** Waits between attempts. Default: random, up to 200 ms, doubling up to 5 s. */
  readonly backoff?: BackoffOptions;
  /** For each provider and agent type; false: none. */
  readonly circuit?: CircuitOptions | false;
  readonly log?: Logger;
  readonly random?: () => number;
}

const BACKOFF: BackoffOptions = {baseMs: 200, maxMs: 5000};
/** A provider whose time is over may still say what it was about. */
const LAST_WORDS_MS = 50;
/** Who gives a provider less time than this learns nothing about it from its silence. */
const FAIR_MS = 5000;
/** Agent types come from messages: no more of them are remembered. */
const MAX_CIRCUITS = 1000;

export class ProviderRunner {
  private readonly circuits = new WeakMap<Provider, Map<string, CircuitState>>();
  private readonly log: Logger;

  constructor(
    private readonly provider: Provider,
    private readonly options: ProviderRunOptions = {},
  ) {
    this.log = options.log ?? silentLogger;
  }

  /** Never rejects; answers at the latest a moment after the context's signal aborts. */
  async wakeup(request: WakeupRequest, context: ProviderContext): Promise<ProviderDecision> {
    let provider: Provider;
    try {
      provider = this.provider.choose?.(request) ?? this.provider;
    } catch (error) {
      return failed(`no provider could be chosen: ${messageOf(error)}`);
    }
    const {targetAgentType} = request;
    const admission = admit(this.circuitOf(provider, targetAgentType), performance.now());
    if (!admission.admitted) {
      const reason = `the circuit of provider "${provider.name}" is open for "${targetAgentType}", after failures in a row`;
      return {...failed(reason), retryAfterMs: Math.ceil(admission.retryAfterMs)};
    }
    this.keepCircuit(provider, targetAgentType, admission.next);
    const startedAt = performance.now();
    const decision = await this.inAttempts(provider, request, context);
    const isFair = !context.signal.aborted || performance.now() - startedAt >= FAIR_MS;
    this.note(
      provider,
      targetAgentType,
      decision.status !== 'FAILED' ? 'success' : isFair ? 'failure' : 'neutral',
    );
    return decision;
  }

  async close(): Promise<void> {
    await this.provider.close?.();
  }

  private async inAttempts(
    provider: Provider,
    request: WakeupRequest,
    context: ProviderContext,
  ): Promise<ProviderDecision> {
    const {attempts = 1, backoff = BACKOFF, random} = this.options;
    for (let attempt = 1; ; attempt++) {
      const decision = await this.attempt(provider, request, context);
      if (decision.status !== 'FAILED' || attempt >= attempts || context.signal.aborted) return decision;
      this.log.warn('the provider failed and is asked again', {
        ...facts(provider, request),
        attempt,
        reason: decision.reason,
      });
      await sleep(Math.max(backoffMs(attempt, backoff, random), decision.retryAfterMs ?? 0), context.signal);
      if (context.signal.aborted as boolean) return decision;
    }
  }

  /** One call, and one answer to it. */
  private async attempt(
    provider: Provider,
    request: WakeupRequest,
    context: ProviderContext,
  ): Promise<ProviderDecision> {
    const {attemptTimeoutMs} = this.options;
    const end = new AbortController();
    const timer =
      attemptTimeoutMs === undefined
        ? undefined
        : setTimeout(() => end.abort(), Math.max(1, attemptTimeoutMs));
    const stop = () => end.abort();
    if (context.signal.aborted) stop();
    context.signal.addEventListener('abort', stop, {once: true});
    let isOver = false;
    const answer = this.ask(provider, request, {...context, signal: end.signal}).then(decision => {
      if (isOver)
        this.log.warn('an answer came too late and was ignored', {
          ...facts(provider, request),
          decision: decision.status,
        });
      return decision;
    });
    try {
      return await Promise.race([answer, silence(end.signal)]);
    } finally {
      isOver = true;
      clearTimeout(timer);
      context.signal.removeEventListener('abort', stop);
    }
  }

  /** Never rejects. */
  private async ask(
    provider: Provider,
    request: WakeupRequest,
    context: ProviderContext,
  ): Promise<ProviderDecision> {
    try {
      const answer = readAnswer(await provider.wakeup(structuredClone(request), context));
      if (answer.ok) return answer.decision;
      return failed(`the provider answered ${answer.problem}`);
    } catch (error) {
      return failed(`the provider threw: ${messageOf(error)}`.slice(0, 1000));
    }
  }

  private circuitOf(provider: Provider, agentType: string): CircuitState {
    return this.circuits.get(provider)?.get(agentType) ?? CLOSED;
  }

  private note(provider: Provider, agentType: string, outcome: Outcome): void {
    const {circuit} = this.options;
    if (circuit === false) return;
    const before = this.circuitOf(provider, agentType);
    const after = settle(before, outcome, performance.now(), circuit);
    if (after.kind === 'open' && before.kind !== 'open')
      this.log.warn('the circuit of a provider is open', {provider: provider.name, agent_type: agentType});
    this.keepCircuit(provider, agentType, after);
  }

  private keepCircuit(provider: Provider, agentType: string, state: CircuitState): void {
    const ofProvider = this.circuits.get(provider) ?? new Map<string, CircuitState>();
    this.circuits.set(provider, ofProvider);
    ofProvider.delete(agentType);
    if (state === CLOSED) return;
    ofProvider.set(agentType, state);
    const [oldest] = ofProvider.keys();
    if (ofProvider.size > MAX_CIRCUITS && oldest !== undefined) ofProvider.delete(oldest);
  }
}

const failed = (reason: string) => ({status: 'FAILED' as const, reason});

const facts = (provider: Provider, request: WakeupRequest) => ({
  provider: provider.name,
  agent_type: request.targetAgentType,
  execution_id: request.executionId,
});

/** The answer of a provider that gives none. */
function silence(signal: AbortSignal): Promise<ProviderDecision> {
  return new Promise(resolve => {
    const late = () =>
      void sleep(LAST_WORDS_MS).then(() => resolve(failed('the provider did not answer in time')));
    if (signal.aborted) late();
    else signal.addEventListener('abort', late, {once: true});
  });
}
