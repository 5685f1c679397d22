/**
 * Claim, finish, retry, resume, recovery and cancel of one execution in any order. Each is one step on the record, so
 * random orders of steps are the races that can happen; a failure names its seed.
 */
import {expect, test} from 'vitest';
import {encodeRecord, newExecutionRecord} from '../../src/protocol/execution.js';
import {isTerminal} from '../../src/protocol/states.js';
import {appendEvents} from '../../src/store/data-streams.js';
import {
  claimExecution,
  endAttempt,
  findExecution,
  finishTurn,
  type Claim,
} from '../../src/store/executions.js';
import {stopExecution} from '../../src/store/stop.js';
import type {Store} from '../../src/store/store.js';
import {describeEachStore, type TestStore} from '../support/stores.js';

const SEEDS = 120;
const STEPS = 14;
const [SESSION, EXECUTION] = ['s', 'x'];
const OWNERS = ['w-1#000000000001', 'w-2#000000000002'];
const END = JSON.stringify({event_type: 'appStreamResponse', message_id: 'm'});

/** Marsaglia's xorshift: the same seed, the same run. */
function randomOf(seed: number): (below: number) => number {
  let state = seed * 2654435761 + 1;
  return below => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return Math.abs(state) % below;
  };
}

interface World {
  readonly store: Store;
  /** What each worker believes to run. */
  readonly held: Map<string, Claim>;
  entries: number;
  cancelled: boolean;
}

const record = () =>
  newExecutionRecord({
    ...{executionId: EXECUTION, messageId: 'm', sessionId: SESSION, traceId: 't', parentMessageId: ''},
    ...{sourceAgentType: 'client', targetAgentType: 'echo', streamName: 'x', now: 1},
  });

/** One worker takes the ASK, or the newest RESUME; whoever has it is taken for dead. */
async function claim(world: World, owner: string, resume: boolean) {
  const current = await findExecution(world.store, SESSION, EXECUTION);
  const holder = current?.extra['x_owner'];
  // Long ago: before any cancel, so that no answer of a person brings it back.
  if (resume && holder === '') world.entries++;
  const entry = typeof holder === 'string' && holder !== '' ? String(current?.extra['x_entry']) : '';
  const claimed = await claimExecution(world.store, {
    ...{
      sessionId: SESSION,
      messageId: 'm',
      hint: EXECUTION,
      newExecutionId: EXECUTION,
      newRecord: () => encodeRecord(record()),
    },
    ...{owner, workerId: owner.slice(0, 3), entry: entry || `x/1-${resume ? world.entries : 0}`, nowMs: 2},
    ...{reopen: resume, ask: !resume, maxAttempts: 4},
    deadOwner: typeof holder === 'string' ? holder : '',
  });
  if (['started', 'cancelled', 'exhausted', 'expired'].includes(claimed.verdict))
    world.held.set(owner, claimed);
}

async function finish(world: World, owner: string, status: string) {
  const held = world.held.get(owner);
  if (held === undefined) return;
  const end = (to: string) =>
    finishTurn(world.store, {
      ...{
        sessionId: SESSION,
        executionId: EXECUTION,
        fence: held.fence,
        renewEvents: true,
        renewRegistry: false,
      },
      patch: {status: to, updated_at: 3},
      events: isTerminal(to) ? [END] : ['{"event_type":"ask"}'],
    });
  const forced =
    held.verdict === 'exhausted' ? 'FAILED' : held.verdict === 'cancelled' ? 'CANCELLED' : status;
  if ((await end(forced)) === 'cancelling') await end('CANCELLED');
  world.held.delete(owner);
}

async function fail(world: World, owner: string, ended: 'failed' | 'handed_back') {
  const held = world.held.get(owner);
  if (held === undefined) return;
  await endAttempt(
    world.store,
    {
      ...{sessionId: SESSION, executionId: EXECUTION, fence: held.fence, ended, workerId: owner.slice(0, 3)},
      ...{error: 'x', nowMs: 4, retryAtMs: 0, events: []},
    },
    1000,
  );
  world.held.delete(owner);
}

async function cancel(world: World, force: boolean) {
  const seen = await findExecution(world.store, SESSION, EXECUTION);
  const stop = {kind: 'cancel', reason: '', force, requestedBy: 'test', tell: false} as const;
  if (seen !== undefined) await stopExecution(world.store, seen, stop, 5);
  world.cancelled = true;
}

async function talk(world: World, owner: string) {
  const held = world.held.get(owner);
  const current = await findExecution(world.store, SESSION, EXECUTION);
  if (held === undefined) return;
  const turn = {sessionId: SESSION, executionId: EXECUTION, fence: held.fence};
  const written = await appendEvents(world.store, turn, ['{"event_type":"answer"}'], false);
  if (written) expect(current?.extra['x_fence']).toBe(held.fence);
}

async function step(world: World, random: (below: number) => number): Promise<string> {
  const owner = OWNERS[random(2)] ?? '';
  const kind = random(10);
  switch (kind) {
    case 0:
    case 1:
      await claim(world, owner, false);
      return `claim ${owner}`;
    case 2:
      await claim(world, owner, true);
      return `resume ${owner}`;
    case 3:
    case 4: {
      const status = ['COMPLETED', 'WAITING_USER', 'FAILED'][random(3)] ?? '';
      await finish(world, owner, status);
      return `finish ${owner} ${status}`;
    }
    case 5:
      await fail(world, owner, random(2) === 0 ? 'failed' : 'handed_back');
      return `fail ${owner}`;
    case 6:
      await cancel(world, random(2) === 0);
      return 'cancel';
    default:
      await talk(world, owner);
      return `talk ${owner}`;
  }
}

async function ends(at: TestStore, store: Store): Promise<number> {
  const rows = await at.redis().xrange(store.keys.sessionDataStream(SESSION), '-', '+');
  return rows.filter(([, fields]) => fields[1]?.includes('appStreamResponse')).length;
}

describeEachStore('one execution under any order of steps', at => {
  test('ends once, stays ended, and no cancel is lost', {timeout: 120_000}, async () => {
    at.breaksRules('sessionDataStream');
    for (let seed = 1; seed <= SEEDS; seed++) {
      const store = at.open();
      const world: World = {store, held: new Map(), entries: 0, cancelled: false};
      const random = randomOf(seed);
      await claim(world, OWNERS[0] ?? '', false);
      const steps: string[] = [];
      let ended = '';
      const look = async () => {
        const now = await findExecution(store, SESSION, EXECUTION);
        const what = `seed ${seed}: ${steps.join(', ')}`;
        // A person may go on with what has ended; here every such answer came before the cancel.
        if (ended !== '' && world.cancelled) expect(now?.status, what).toBe(ended);
        if (world.cancelled && !isTerminal(now?.status ?? '')) expect(now?.status, what).toBe('CANCELLING');
        ended = isTerminal(now?.status ?? '') ? (now?.status ?? '') : '';
      };
      for (let n = 0; n < STEPS; n++) {
        steps.push(await step(world, random));
        await look();
      }
      await cancel(world, false);
      // Whoever comes next brings it to its end.
      await claim(world, OWNERS[0] ?? '', false);
      await finish(world, OWNERS[0] ?? '', 'CANCELLED');
      await look();
      const what = `seed ${seed}: ${steps.join(', ')}`;
      const record = await findExecution(store, SESSION, EXECUTION);
      const reopened =
        record?.timeline.filter(({status}, i) => isTerminal(status) && i < record.timeline.length - 1) ?? [];
      expect(isTerminal(record?.status ?? ''), what).toBe(true);
      expect(await ends(at, store), what).toBe(reopened.length + 1);
      expect(record?.extra['x_fence'], what).toBe('');
      expect(
        await appendEvents(
          store,
          {
            sessionId: SESSION,
            executionId: EXECUTION,
            fence: world.held.get(OWNERS[1] ?? '')?.fence ?? 'none',
          },
          ['{}'],
          false,
        ),
        what,
      ).toBe(false);
    }
  });
});
