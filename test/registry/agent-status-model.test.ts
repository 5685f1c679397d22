/**
 * The script that changes statuses in Redis against the pure functions, by random steps: whatever happens in whatever
 * order, both must come to the same. A failure names its seed.
 */
import {expect, test} from 'vitest';
import type {AgentStatus, ExhaustReason, SlotType} from '../../src/protocol/orchestration/status.js';
import {
  checkExhaustedRecovery,
  checkHeartbeatTimeout,
  DEFAULT_RECOVERY_MS,
  HEARTBEAT_TIMEOUT_MS,
  MAX_RECOVERY_MS,
  MIN_RECOVERY_MS,
  recordHeartbeat,
  transitionToBusy,
  transitionToExhausted,
  transitionToIdle,
  transitionToOffline,
  type AgentStatusState,
} from '../../src/registry/agent-status.js';
import {applyStatus, type StatusChange} from '../../src/store/agent-status.js';
import {serverTimeMs} from '../../src/store/store.js';
import {ago} from '../support/status.js';
import {describeEachStore} from '../support/stores.js';

const SEEDS = 25;
const STEPS = 30;
const W = 'w-1';
const LIMITS = {
  timeoutMs: HEARTBEAT_TIMEOUT_MS,
  defaultMs: DEFAULT_RECOVERY_MS,
  minMs: MIN_RECOVERY_MS,
  maxMs: MAX_RECOVERY_MS,
};
const HOUR = 3_600_000;

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

interface Ledger {
  readonly reason: ExhaustReason;
  readonly recoveryAt: number;
  readonly explicit: boolean;
  readonly recordedAt: number;
}

interface Model {
  readonly state: AgentStatusState;
  readonly slots: number;
  readonly first: SlotType | null;
  readonly ledger: Ledger | undefined;
}

const busyAs = (state: AgentStatusState, slotType: SlotType, now: number): AgentStatusState => ({
  ...transitionToBusy({...state, status: 'idle'}, {slotType, now}),
  lastHeartbeatAt: state.lastHeartbeatAt,
});

/** After an exhaustion: at work again, if it has some. */
const withWork = (model: Model, state: AgentStatusState, now: number): AgentStatusState =>
  model.slots > 0 && state.status === 'idle' ? busyAs(state, model.first ?? 'work', now) : state;

/** What a step makes of the model; undefined where it is not allowed. */
function step(model: Model, change: StatusChange, now: number): Model | undefined {
  const {state, slots, ledger} = model;
  switch (change.op) {
    case 'heartbeat': {
      const live = ledger !== undefined && ledger.recoveryAt > now ? ledger : undefined;
      let next = recordHeartbeat(checkExhaustedRecovery(state, now).state, now);
      if (state.status === 'offline' && live !== undefined)
        next = {
          ...transitionToExhausted(next, {...live, now: live.recordedAt}),
          lastHeartbeatAt: now,
        };
      const used = change.slotsUsed ?? slots;
      const first = used > 0 ? (change.firstSlotType ?? model.first ?? 'work') : null;
      if (next.status !== 'exhausted')
        next = used > 0 ? busyAs(next, first ?? 'work', now) : {...next, status: 'idle'};
      return {...model, state: next, slots: used, first};
    }
    case 'take': {
      const first = slots === 0 ? change.slotType : model.first;
      if (state.status === 'idle')
        return {...model, first, slots: 1, state: transitionToBusy(state, {slotType: change.slotType, now})};
      const works = state.status === 'busy' || state.status === 'on_call';
      return works || change.observed ? {...model, first, slots: slots + 1} : undefined;
    }
    case 'release': {
      if (slots > 1) return {...model, slots: slots - 1};
      if (slots === 0) return model;
      const works = state.status === 'busy' || state.status === 'on_call';
      return {...model, slots: 0, first: null, state: works ? transitionToIdle(state, {now}) : state};
    }
    case 'exhaust': {
      const live = ledger !== undefined && ledger.recoveryAt > now ? ledger : undefined;
      const said = change.recoveryInMs === undefined ? undefined : now + change.recoveryInMs;
      const keeps = live?.explicit === true && (said === undefined || live.recoveryAt > said);
      const row = {
        reason: change.reason,
        recordedAt: now,
        recoveryAt: keeps ? live.recoveryAt : (said ?? now + DEFAULT_RECOVERY_MS),
        explicit: keeps || said !== undefined,
      };
      if (state.status === 'offline') return {...model, ledger: row};
      return {...model, ledger: row, state: transitionToExhausted(state, {...row, now})};
    }
    case 'recover': {
      if (state.status !== 'exhausted')
        return ledger === undefined ? undefined : {...model, ledger: undefined};
      const idle = transitionToIdle(state, {now, bumpHeartbeat: false});
      return {...model, ledger: undefined, state: withWork(model, idle, now)};
    }
    case 'due': {
      const {state: next, changed} = checkExhaustedRecovery(state, now);
      // By a sweep it is no sign of life.
      const idle = {...next, lastHeartbeatAt: state.lastHeartbeatAt};
      return changed ? {...model, state: withWork(model, idle, now)} : model;
    }
    case 'timeout':
      return {...model, state: checkHeartbeatTimeout(state, now).state};
    case 'leave':
      return state.status === 'offline'
        ? model
        : {...model, state: transitionToOffline(state), slots: 0, first: null};
  }
}

function randomChange(random: (below: number) => number): StatusChange {
  const slotType = (['work', 'on_call', 'system'] as const)[random(3)] ?? 'work';
  switch (random(9)) {
    case 0:
    case 1:
      return {
        ...{op: 'heartbeat', agentTypes: ['a'], origin: 'native', reexhaust: true},
        ...(random(2) === 0 ? {} : {slotsUsed: random(3), firstSlotType: slotType}),
      };
    case 2:
      return {op: 'take', slotType, observed: random(2) === 0};
    case 3:
      return {op: 'release'};
    case 4:
      return {
        ...{op: 'exhaust', scope: '*', source: 'explicit'},
        reason: random(2) === 0 ? 'billing' : 'rate_limit',
        ...(random(2) === 0 ? {} : {recoveryInMs: (1 + random(5)) * HOUR}),
      };
    case 5:
      return {op: 'recover', scope: '*', by: 'b', note: 'n'};
    case 6:
      return {op: 'due'};
    case 7:
      return {op: 'timeout'};
    default:
      return {op: 'leave'};
  }
}

describeEachStore('the status script and the pure functions', harness => {
  test(`agree after ${SEEDS} runs of ${STEPS} random steps`, async () => {
    const store = harness.open();
    const seen = new Set<AgentStatus>();
    for (let seed = 1; seed <= SEEDS; seed++) {
      const random = randomOf(seed);
      const worker = `${W}-${seed}`;
      const apply = (change: StatusChange) => applyStatus(store, worker, change, LIMITS);
      const first = await apply({op: 'heartbeat', agentTypes: ['a'], origin: 'native', reexhaust: true});
      let model: Model = {
        state: {
          ...{agent: worker, status: 'idle', lastHeartbeatAt: first.now},
          ...{exhaustedAt: null, recoveryAt: null, exhaustReason: null},
        },
        ...{slots: 0, first: null, ledger: undefined},
      };
      for (let i = 0; i < STEPS; i++) {
        const where = `seed ${seed}, step ${i}`;
        if (random(5) === 0) {
          // Time passes.
          const by = random(2) === 0 ? {heartbeat: 100_000 + random(2) * 30_000} : {recovery: 1};
          const isMeant = !('recovery' in by) || model.state.recoveryAt !== null;
          if (isMeant && model.state.status !== 'offline') {
            const before = Math.floor(await serverTimeMs(store));
            await ago(store, worker, by);
            const {record, now} = await apply({op: 'timeout'});
            if (by.heartbeat !== undefined) {
              // A moment passed between the two: what counts is what was written.
              const writtenAt = record!.lastHeartbeatAt! + by.heartbeat;
              expect(writtenAt, where).toBeGreaterThanOrEqual(before);
              expect(writtenAt, where).toBeLessThanOrEqual(now);
            }
            model = {
              ...model,
              state: {
                ...model.state,
                lastHeartbeatAt: record!.lastHeartbeatAt,
                recoveryAt: record!.recoveryAt,
              },
              ledger: model.ledger && {
                ...model.ledger,
                ...('recovery' in by ? {recoveryAt: record!.recoveryAt ?? 0} : {}),
              },
            };
            model = {...model, state: checkHeartbeatTimeout(model.state, now).state};
          }
          continue;
        }
        const change = randomChange(random);
        const {verdict, now, record} = await apply(change);
        const next = step(model, change, now);
        expect(verdict === 'illegal', `${where}: ${JSON.stringify(change)} gave ${verdict}`).toBe(
          next === undefined,
        );
        model = next ?? model;
        const {agent: _agent, ...expected} = model.state;
        expect(record, `${where}: ${JSON.stringify(change)}`).toMatchObject({
          ...expected,
          slotsUsed: model.slots,
          firstSlotType: model.first,
        });
        seen.add(record!.status);
      }
    }
    expect([...seen].sort()).toEqual(['busy', 'exhausted', 'idle', 'offline', 'on_call']);
  });
});
