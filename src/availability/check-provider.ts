/**
 * What the manager relies on, tried on a provider of somebody's own: it is asked as a manager asks, with workers that
 * come online and workers that never do, and what it answers is looked at. It is really asked: what it starts, starts.
 */
import {sleep} from '../clock.js';
import {messageOf} from '../errors.js';
import {newExecutionId, newHexUuid} from '../ids.js';
import {decodeWakeupRequest, encodeWakeupRequest, type WakeupRequest} from '../protocol/wakeup.js';
import {readAnswer} from './provider-answer.js';
import type {Provider, ProviderDecision} from './provider.js';

export interface ProviderCheck {
  readonly name: string;
  readonly level: 'ok' | 'warning' | 'problem';
  readonly text: string;
  /** What to do, when it is no pass. */
  readonly fix?: string;
}

export interface CheckProvider {
  /** An agent type it starts. Default: one that it can not know. */
  readonly agentType?: string;
  /** Milliseconds each answer may take. Default 5000. */
  readonly timeoutMs?: number;
  /** Milliseconds after an abort until a call must have ended. Default 1000. */
  readonly graceMs?: number;
  /** What the provider has printed so far. */
  readonly printed?: () => string;
  /** What it must not say: neither print nor give as a reason. */
  readonly secrets?: readonly string[];
  /** Errors that nobody caught so far. */
  readonly strayErrors?: () => readonly string[];
}

type Ended =
  | {readonly kind: 'answered'; readonly value: unknown; readonly ms: number}
  | {readonly kind: 'threw'; readonly message: string}
  | {readonly kind: 'silent'};

/** When a worker comes online in the manager's eyes: after some milliseconds, or never. */
const ONLINE_AFTER_MS = 100;

export async function checkProvider(
  provider: Provider,
  options: CheckProvider = {},
): Promise<ProviderCheck[]> {
  return new ProviderExam(provider, options).run();
}

class ProviderExam {
  private readonly checks: ProviderCheck[] = [];
  private readonly answers: unknown[] = [];
  private readonly changed: string[] = [];
  /** In the command, which is nobody's business but the worker's. */
  private readonly words = `by-check-${newHexUuid()}`;
  private readonly agentType: string;
  private readonly timeoutMs: number;
  private readonly graceMs: number;

  constructor(
    private readonly provider: Provider,
    private readonly options: CheckProvider,
  ) {
    this.agentType = options.agentType ?? 'by-check-agent';
    this.timeoutMs = options.timeoutMs ?? 5000;
    this.graceMs = options.graceMs ?? 1000;
  }

  async run(): Promise<ProviderCheck[]> {
    const first = this.request(this.agentType);
    await this.answersInTime(first);
    await this.answersAgain(first);
    await this.takesUnknownTypes();
    await this.takesOddRequests();
    await this.stopsWhenTold();
    await this.closes();
    this.looksAtAnswers();
    this.looksAtSecrets();
    await this.looksAtStrays();
    return this.checks;
  }

  private async answersInTime(request: WakeupRequest): Promise<void> {
    const ended = await this.call(request, ONLINE_AFTER_MS);
    if (ended.kind === 'threw') {
      this.problem('answers', `it threw: ${ended.message}`, 'Answer FAILED with a reason instead.');
      return;
    }
    if (ended.kind === 'silent') {
      this.problem(
        'answers',
        `no answer within ${this.timeoutMs} ms, though a worker came online`,
        'Ask context.isOnline() while you wait, or answer STARTING.',
      );
      return;
    }
    const read = readAnswer(ended.value);
    const status = read.ok ? read.decision.status : 'nothing that can be read';
    const text = `${status} for "${this.agentType}" after ${ended.ms} ms`;
    const isRefusal = status === 'REJECTED' || status === 'FAILED';
    if (!isRefusal) this.ok('answers', text);
    else if (this.options.agentType === undefined)
      this.warning('answers', text, 'Name an agent type it starts with --agent, to check more of it.');
    else this.problem('answers', `${text}: ${reasonOf(read)}`, 'See why it does not start a worker.');
  }

  /** A manager that dies has asked and not told: the next one asks again. */
  private async answersAgain(request: WakeupRequest): Promise<void> {
    const both = await Promise.all([
      this.call(request, ONLINE_AFTER_MS),
      this.call(request, ONLINE_AFTER_MS),
    ]);
    const kinds = new Set([...both, await this.call(request, ONLINE_AFTER_MS)].map(kindOf));
    if (kinds.size === 1 && !kinds.has('none'))
      this.ok('repeats', 'the same request gets the same kind of answer');
    else
      this.problem(
        'repeats',
        `the same request, asked again and at the same time, got: ${[...kinds].join(', ')}`,
        'Start nothing twice, and answer READY or STARTING for what is there already.',
      );
  }

  private async takesUnknownTypes(): Promise<void> {
    const ended = await this.call(this.request(`by-check-nobody-${newHexUuid().slice(0, 8)}`), Infinity);
    const name = 'unknown types';
    const fix = 'Answer REJECTED with a reason for agent types you do not know.';
    if (ended.kind === 'threw') {
      this.problem(name, `it threw: ${ended.message}`, fix);
      return;
    }
    if (ended.kind === 'silent') {
      this.problem(name, `no answer within ${this.timeoutMs} ms`, fix);
      return;
    }
    const read = readAnswer(ended.value);
    const status = read.ok ? read.decision.status : 'nothing that can be read';
    if (status === 'READY')
      this.warning(name, 'READY for a type nobody serves, and no worker was online', fix);
    else this.ok(name, status);
  }

  private async takesOddRequests(): Promise<void> {
    const odd: Record<string, Partial<WakeupRequest>> = {
      'no user and no region': {userCode: '', region: ''},
      'no time at all': {timeoutMs: 0},
      'an unknown policy': {policy: 'SOMETHING_NEW'},
      'no command': {commandPayload: {}, metadata: {}},
      'a long agent type': {targetAgentType: 'x'.repeat(128)},
    };
    const broken: string[] = [];
    for (const [what, change] of Object.entries(odd)) {
      const ended = await this.call({...this.request(this.agentType), ...change}, ONLINE_AFTER_MS);
      if (ended.kind !== 'answered')
        broken.push(`${what}: ${ended.kind === 'threw' ? `it threw (${ended.message})` : 'no answer'}`);
    }
    if (broken.length === 0) this.ok('odd requests', Object.keys(odd).join(', '));
    else this.problem('odd requests', broken.join('; '), 'Fields may be empty, and other SDKs write others.');
  }

  private async stopsWhenTold(): Promise<void> {
    const late: string[] = [];
    for (const [what, abortMs] of [
      ['aborted while it waits', 100],
      ['aborted before it began', 0],
    ] as const) {
      const ended = await this.call(this.request(this.agentType), Infinity, abortMs);
      if (ended.kind === 'silent') late.push(what);
    }
    if (late.length === 0) this.ok('stops', 'a call ends when context.signal aborts');
    else
      this.problem(
        'stops',
        `still running ${this.graceMs} ms after it was ${late.join(', and ')}`,
        'Look at context.signal wherever you wait, and hand it to what you call.',
      );
  }

  private async closes(): Promise<void> {
    const {provider} = this;
    if (provider.close === undefined) {
      this.ok('closes', 'it has no close()');
      return;
    }
    for (const what of ['close()', 'a second close()']) {
      const ended = await this.within(async () => provider.close?.(), this.timeoutMs);
      if (ended.kind === 'answered') continue;
      const text = ended.kind === 'threw' ? `${what} threw: ${ended.message}` : `${what} did not end in time`;
      this.problem('closes', text, 'End what you started, and let it be called twice.');
      return;
    }
    this.ok('closes', 'close() ends, also the second time');
  }

  private looksAtAnswers(): void {
    const problems = new Set(this.answers.flatMap(answerProblems));
    if (problems.size === 0)
      this.ok('decisions', `${this.answers.length} answers, all of the form that is asked for`);
    else
      this.problem(
        'decisions',
        [...problems].join('; '),
        'Answer {status} with READY, STARTING, QUEUED, REJECTED or FAILED (reason), or FALLBACK (agentType).',
      );
    if (this.changed.length > 0)
      this.problem('requests', 'it changed the request it was given', 'Copy what you want to change.');
    else this.ok('requests', 'left as they were');
  }

  private looksAtSecrets(): void {
    const {printed = () => '', secrets = []} = this.options;
    const said = [printed(), ...this.answers.map(answer => safeJson(answer))].join('\n');
    const fix = 'Log ids and outcomes, nothing of the command and no passwords.';
    if (said.includes(this.words)) this.problem('secrets', 'it says what the command holds', fix);
    else if (secrets.some(secret => said.includes(secret)))
      this.problem('secrets', 'it says a secret of the environment', fix);
    else
      this.ok('secrets', 'nothing of the command, and no secret of the environment, was printed or answered');
  }

  private async looksAtStrays(): Promise<void> {
    // The process is told of them once everything that was ready has run.
    await sleep(1);
    const stray = this.options.strayErrors?.() ?? [];
    if (stray.length > 0)
      this.problem(
        'stray errors',
        `errors that nobody caught: ${stray.join('; ').slice(0, 500)}`,
        'Await or catch every promise: in a manager this ends the process.',
      );
  }

  private request(agentType: string): WakeupRequest {
    return decodeWakeupRequest({
      execution_id: newExecutionId(),
      target_agent_type: agentType,
      session_id: 'sess-check',
      trace_id: newHexUuid(),
      message_id: 'msg-check',
      source: 'client',
      policy: 'WAKE_AND_WAIT',
      timeout_ms: this.timeoutMs,
      user_code: 'u-check',
      region: 'eu',
      metadata: {note: this.words},
      command_payload: {body: {content: this.words}},
    });
  }

  /** Ask once, as a manager would, and remember what came of it. */
  private async call(request: WakeupRequest, onlineAfterMs: number, abortMs?: number): Promise<Ended> {
    const startedAt = performance.now();
    const isOnline = async () => performance.now() - startedAt >= onlineAfterMs;
    const deadline = new AbortController();
    if (abortMs === 0) deadline.abort();
    else if (abortMs !== undefined) void sleep(abortMs, deadline.signal).then(() => deadline.abort());
    const context = {
      signal: deadline.signal,
      isOnline,
      onlineWorkers: async () => ((await isOnline()) ? ['worker-check'] : []),
    };
    const mine = structuredClone(request);
    const before = encodeWakeupRequest(mine);
    const limitMs = abortMs === undefined ? this.timeoutMs : abortMs + this.graceMs;
    const ended = await this.within(() => this.provider.wakeup(mine, context), limitMs);
    deadline.abort();
    if (encodedOrNothing(mine) !== before) this.changed.push(request.executionId);
    if (ended.kind === 'answered') this.answers.push(ended.value);
    return ended;
  }

  private async within(act: () => Promise<unknown>, limitMs: number): Promise<Ended> {
    const startedAt = performance.now();
    const over = new AbortController();
    const ended = (async (): Promise<Ended> => {
      try {
        const value = await act();
        return {kind: 'answered', value, ms: Math.round(performance.now() - startedAt)};
      } catch (error) {
        return {kind: 'threw', message: messageOf(error).slice(0, 300)};
      }
    })();
    const silent = sleep(limitMs, over.signal).then((): Ended => ({kind: 'silent'}));
    const first = await Promise.race([ended, silent]);
    over.abort();
    return first;
  }

  private ok(name: string, text: string): void {
    this.checks.push({name, level: 'ok', text});
  }

  private warning(name: string, text: string, fix: string): void {
    this.checks.push({name, level: 'warning', text, fix});
  }

  private problem(name: string, text: string, fix: string): void {
    this.checks.push({name, level: 'problem', text, fix});
  }
}

/** READY, STARTING and QUEUED are steps of one way. */
function kindOf(ended: Ended): string {
  if (ended.kind !== 'answered') return ended.kind === 'threw' ? 'an error' : 'none';
  const read = readAnswer(ended.value);
  if (!read.ok) return 'nothing that can be read';
  switch (read.decision.status) {
    case 'READY':
    case 'STARTING':
    case 'QUEUED':
      return 'READY, STARTING or QUEUED';
    case 'REJECTED':
    case 'FAILED':
    case 'FALLBACK':
      return read.decision.status;
  }
}

function answerProblems(value: unknown): string[] {
  const read = readAnswer(value);
  if (!read.ok) return [`it answered ${read.problem}`];
  const raw = value as Record<string, unknown>;
  const {status}: ProviderDecision = read.decision;
  const problems: string[] = [];
  if (
    (status === 'REJECTED' || status === 'FAILED') &&
    !(typeof raw['reason'] === 'string' && raw['reason'] !== '')
  )
    problems.push(`${status} without a reason`);
  if (raw['workerIds'] !== undefined && !isTextList(raw['workerIds']))
    problems.push('workerIds that is no list of texts');
  if (
    raw['retryAfterMs'] !== undefined &&
    !(typeof raw['retryAfterMs'] === 'number' && raw['retryAfterMs'] >= 0)
  )
    problems.push('retryAfterMs that is no number of milliseconds');
  return problems;
}

const isTextList = (value: unknown): boolean =>
  Array.isArray(value) && value.every(one => typeof one === 'string');

const reasonOf = (read: ReturnType<typeof readAnswer>): string =>
  read.ok && 'reason' in read.decision ? (read.decision.reason ?? '') : '';

function safeJson(value: unknown): string {
  try {
    // In a list, because of undefined alone nothing is made.
    return JSON.stringify([value]);
  } catch {
    // A ring, or a BigInt: it is read by its fields, and they are looked at for themselves.
    return '';
  }
}

/** A request that was changed beyond its form is a changed one. */
function encodedOrNothing(request: WakeupRequest): string {
  try {
    return encodeWakeupRequest(request);
  } catch {
    return '';
  }
}
