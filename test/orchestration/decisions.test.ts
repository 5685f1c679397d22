/** The decisions alone: whatever happens in whatever order, no state follows an end, and one attempt at most is alive. */
import {describe, expect, test} from 'vitest';
import {accepted, newTask} from '../../src/orchestration/begin.js';
import {cancelled} from '../../src/orchestration/cancelling.js';
import type {Decision} from '../../src/orchestration/decision.js';
import {claimed, due, notSent, sent} from '../../src/orchestration/dispatching.js';
import {ended, isBegun, isOverdue, nextInputs, type Begun, type End} from '../../src/orchestration/ending.js';
import {inputStep, newInputId, type NewInput} from '../../src/orchestration/inputs.js';
import {maskSecrets} from '../../src/orchestration/mask-secrets.js';
import {afterEnd, claimedIn, healed, newPool, roomOf} from '../../src/orchestration/pools.js';
import {watched, WATCH_TIMES} from '../../src/orchestration/watching.js';
import {ByError} from '../../src/errors.js';
import type {RunAttempt} from '../../src/protocol/orchestration/attempt.js';
import type {PendingInput} from '../../src/protocol/orchestration/input.js';
import {
  ATTEMPT_MOVES,
  isFinalAttempt,
  isFinalRun,
  isFinalTask,
  mayMove,
  QUEUE_MODES,
  RUN_MOVES,
  TASK_MOVES,
} from '../../src/protocol/orchestration/states.js';
import type {AgentRun} from '../../src/protocol/orchestration/run.js';
import type {Ground, Work} from '../../src/store/orchestration.js';
import fc from '../support/properties.js';

const GROUND: Ground = {
  nowMs: 1000,
  pool: undefined,
  inflight: 0,
  heads: [],
  second: undefined,
  holder: '',
  fence: 0,
  leaseUntilMs: 0,
};

/** What Redis would hold, as far as decisions read it. */
class World {
  readonly attempts = new Map<string, RunAttempt>();
  readonly runs = new Map<string, AgentRun>();
  readonly inputs = new Map<string, PendingInput>();
  work: Begun;

  constructor(tries: number) {
    const task = newTask(
      'w',
      {agentType: 'a', message: 'hi', timeoutMs: 500, policy: {retry: {maxAttempts: tries}}},
      's',
      undefined,
    );
    this.work = {...GROUND, task} as unknown as Begun;
    this.apply(accepted(task, GROUND, undefined));
  }

  apply(decision: Decision | undefined): void {
    if (decision === undefined) return;
    const {task, runs = [], attempts = [], pool, inputs = [], joins, leaves, takes, releases} = decision;
    const was = this.work;
    if (this.runs.size > 0) expect(mayMove(TASK_MOVES, was.task.status, task.status)).toBe(true);
    for (const run of runs) {
      const known = this.runs.get(run.runId);
      if (known !== undefined) expect(mayMove(RUN_MOVES, known.status, run.status)).toBe(true);
      this.runs.set(run.runId, run);
    }
    for (const attempt of attempts) {
      const known = this.attempts.get(attempt.attemptId);
      if (known !== undefined) expect(mayMove(ATTEMPT_MOVES, known.status, attempt.status)).toBe(true);
      this.attempts.set(attempt.attemptId, attempt);
    }
    for (const input of inputs) this.inputs.set(input.inputId, input);
    const run = this.runs.get(task.currentRunId ?? '') ?? was.run;
    const heads = [...was.heads, ...(joins !== undefined && !was.heads.includes(joins) ? [joins] : [])];
    const attempt = this.attempts.get(run.currentAttemptId ?? '');
    this.work = {
      ...was,
      ...{task, run},
      attempt: attempt as RunAttempt,
      pool: pool ?? was.pool,
      inputs: [...this.inputs.values()].filter(({runId}) => runId === run.runId),
      heads: heads.filter(head => head !== leaves),
      holder: takes?.attemptId ?? (releases === was.holder ? '' : was.holder),
      fence: takes?.fence ?? was.fence,
      inflight: [...this.attempts.values()].filter(({place}) => place === 'inflight').length,
    };
  }

  /** The attempt under way, as whoever watches it sees it: perhaps of a run before the current one. */
  get underWay(): Begun | undefined {
    const attempt = [...this.attempts.values()].find(({place}) => place === 'inflight');
    const run = attempt && this.runs.get(attempt.runId);
    return attempt && run && {...this.work, attempt, run};
  }

  check(): void {
    const alive = [...this.attempts.values()].filter(({place}) => place !== 'gone');
    const {task, run, holder, heads} = this.work;
    expect(alive.filter(({place}) => place === 'inflight').length).toBeLessThanOrEqual(1);
    const own = alive.filter(({runId}) => runId === run.runId);
    expect(own.length).toBeLessThanOrEqual(1);
    if (isFinalRun(run.status)) {
      expect(isFinalTask(task.status)).toBe(true);
      expect(this.work.inputs.every(({state}) => state !== 'buffered')).toBe(true);
      if (alive.length === 0) expect([holder, heads]).toEqual(['', []]);
    } else expect(own).toHaveLength(1);
    const fences = [...this.attempts.values()].map(({fence}) => fence).filter(fence => fence > 0);
    expect([...fences].sort((a, b) => a - b)).toEqual(fences);
  }
}

const END: Record<string, End> = {
  ok: {status: 'ok', text: 'done', isProven: true},
  failed: {status: 'error', errorClass: 'agent_error', error: {code: 'X', message: ''}, isProven: true},
  permanent: {status: 'error', errorClass: 'agent_error', isPermanent: true, isProven: true},
  lost: {status: 'error', errorClass: 'worker_lost', isProven: true},
  stuck: {status: 'timeout', errorClass: 'timeout', isProven: false},
  quota: {status: 'error', errorClass: 'exhausted', isProven: true},
  cancelled: {status: 'cancelled', errorClass: 'cancelled', isProven: true},
};

const action = fc.oneof(
  fc.constantFrom('claim', 'send', 'refuse', 'break', 'cancel', 'watch', 'wait'),
  fc.constantFrom(...Object.keys(END)).map(name => `end:${name}`),
  fc.constantFrom(...QUEUE_MODES).map(mode => `say:${mode}`),
);

function step(world: World, name: string): Decision | undefined {
  const {work, underWay} = world;
  const [what, detail = ''] = name.split(':');
  switch (what) {
    case 'claim':
      return claimed(work);
    case 'send':
      return sent(work, {
        streamName: 's',
        streamId: '1-0',
        policy: 'P',
        status: 'S',
        routable: 2,
        cursor: '0-0',
      });
    case 'refuse':
      return notSent(work, new ByError('AGENT_TYPE_UNAVAILABLE', 'x', {hint: ''}));
    case 'break':
      return notSent(work, new Error('x'));
    case 'cancel':
      return cancelled(work, {})?.decision;
    case 'watch':
      return underWay && watched(underWay, {isRunning: false, hasLease: true}, WATCH_TIMES).decision;
    case 'wait':
      world.work = {...work, nowMs: work.nowMs + 60_000};
      return due(world.work);
    case 'end':
      if (underWay === undefined || underWay.attempt.dispatchPhase === 'claimed') return undefined;
      if (detail === 'stuck' && isFinalAttempt(underWay.attempt.status)) return undefined;
      return ended(underWay, END[detail]!);
    default:
      return said(work, detail as NewInput['mode']);
  }
}

function said(work: Begun, mode: NewInput['mode']): Decision | undefined {
  try {
    const next = inputStep(work, {inputId: newInputId(), mode, message: mode, idempotencyKey: mode});
    return next.kind === 'write' ? next.decision : undefined;
  } catch (error) {
    if (error instanceof ByError) return undefined;
    throw error;
  }
}

test('in whatever order things happen, no state follows an end and one attempt at most is alive', () => {
  fc.assert(
    fc.property(
      fc.integer({min: 1, max: 3}),
      fc.array(action, {minLength: 10, maxLength: 60, size: 'max'}),
      (tries, actions) => {
        const world = new World(tries);
        for (const name of actions) {
          world.apply(step(world, name));
          world.check();
        }
      },
    ),
    {numRuns: 300},
  );
});

const attemptOf = (over: Partial<RunAttempt> = {}) =>
  ({attemptId: 'a', status: 'error', errorClass: 'agent_error', ...over}) as RunAttempt;

describe('a pool', () => {
  const task = newTask('w', {agentType: 'a', message: 'x'}, 's', undefined);
  const fresh = newPool(task, undefined, 0);
  const fail = (pool: typeof fresh, id = 'a', nowMs = 0) =>
    afterEnd(pool, attemptOf({attemptId: id}), nowMs, 0.5) ?? pool;

  test('warns with the first failure, is degraded with the fifth, and lets one try after a pause that doubles', () => {
    let pool = fail(fresh);
    expect(pool).toMatchObject({status: 'warning', failures: 1});
    for (let i = 0; i < 4; i++) pool = fail(pool);
    expect(pool).toMatchObject({status: 'degraded', failures: 5, openUntilAt: 30_000, openings: 1});
    expect([roomOf(pool, 29_999), roomOf(pool, 30_000)]).toEqual([0, 4]);
    const probing = claimedIn(pool, 'probe')!;
    expect([probing.status, roomOf(probing, 40_000)]).toEqual(['half_open', 0]);
    const again = fail(probing, 'probe', 40_000);
    expect(again).toMatchObject({
      status: 'degraded',
      openUntilAt: 100_000,
      openings: 2,
      probeAttemptId: undefined,
    });
    const healthy = afterEnd(
      claimedIn(again, 'probe')!,
      attemptOf({attemptId: 'probe', status: 'ok'}),
      0,
      0,
    )!;
    expect(healthy).toMatchObject({status: 'healthy', failures: 0, openings: 0});
    expect(healed(again)).toMatchObject({status: 'healthy', openUntilAt: undefined});
  });

  test('does not count what was cancelled, superseded or put off; a probe of those is no proof', () => {
    for (const errorClass of ['cancelled', 'superseded', 'policy', 'exhausted'] as const) {
      expect(afterEnd(fresh, attemptOf({errorClass}), 0, 0)).toBeUndefined();
      const probing = {...fresh, status: 'half_open', probeAttemptId: 'a'} as const;
      expect(afterEnd(probing, attemptOf({errorClass}), 7, 0)).toMatchObject({
        status: 'degraded',
        openUntilAt: 7,
      });
    }
    expect(roomOf({...fresh, desired: 0}, 0)).toBe(0);
  });
});

test('an interrupt goes before what was said earlier; what is collected goes together, up to what is not', () => {
  const input = (inputId: string, mode: PendingInput['mode'], state: PendingInput['state'] = 'buffered') =>
    ({inputId, mode, state}) as PendingInput;
  const ids = (...inputs: PendingInput[]) => nextInputs(inputs).map(({inputId}) => inputId);
  expect(ids(input('1', 'followup'), input('2', 'interrupt'))).toEqual(['2']);
  expect(
    ids(
      input('0', 'collect', 'dropped'),
      input('1', 'collect'),
      input('2', 'collect'),
      input('3', 'followup'),
      input('4', 'collect'),
    ),
  ).toEqual(['1', '2']);
  expect(ids(input('1', 'followup', 'delivered'))).toEqual([]);
});

test('a task is put off for a day, or until it expires', () => {
  const at = {createdAt: 0} as RunAttempt;
  const task = (over: object) => over as Work['task'];
  expect([isOverdue(task({}), at, 86_399_999), isOverdue(task({}), at, 86_400_000)]).toEqual([false, true]);
  expect(isOverdue(task({expiresAt: 5}), at, 5)).toBe(true);
  expect(isOverdue(task({notBeforeAt: 86_400_000}), at, 86_400_001)).toBe(false);
});

test('secrets are hidden in logs', () => {
  expect(
    maskSecrets(
      'Authorization: Bearer abc.def.ghi-123 sk-proj-0123456789abcdef redis://u:pass@h/0 ghp_0123456789abcdefghij plain',
    ),
  ).toBe('Authorization: Bearer *** *** redis://u:***@h/0 *** plain');
});

test('a work without a run is none', () => {
  expect(isBegun(undefined)).toBe(false);
});
