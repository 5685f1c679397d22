/**
 * Finding what dead workers left, and taking it over: G2, G17.
 *
 * About twice a second one worker of the fleet looks at the consumers of a stream (never at its entries) and at the
 * leases of those that hold something. What it finds dead it takes over entry by entry, as many as it can start; when
 * there is more, others look at once. Entries of live workers are never touched, however long they run.
 */
import {holdsSuspects, isDeadConsumer, parseConsumerName} from '../protocol/consumers.js';
import type {ReadPresence} from '../protocol/presence.js';
import type {ControlEntry} from '../store/control-streams.js';
import {
  claimPending,
  consumersOf,
  dropConsumer,
  liveLeases,
  passRecoveryTurn,
  takeRecoveryTurn,
  type ConsumerFacts,
} from '../store/recovery.js';
import type {Store} from '../store/store.js';

/** How often a worker with free slots tries to look. */
export const LOOK_EVERY_MS = 500;
/** One look of the fleet in this time. */
const TURN_MS = 450;
/** A worker of another SDK may have come back after we looked at its lease: only what it did not get just now is taken. */
const FOREIGN_MIN_IDLE_MS = 5000;
/** A consumer without entries that has not asked for as long is looked at, and deleted if it is dead. */
const LOOKS_DEAD_MS = 30_000;
/** What was found dead may come back: it is believed for this long. */
const BELIEVED_MS = 1000;

export interface DeadConsumer {
  readonly name: string;
  readonly pending: number;
  /** Only entries delivered at least this long ago may be taken. */
  readonly minIdleMs: number;
}

/** How much could be taken. */
export interface Room {
  readonly free: number;
  /** Of that, what must run alone. */
  readonly alone: number;
}

/** Which consumers of a group are dead. Pure: the facts in, the decision out. Those that hold suspects come last. */
export function deadConsumers(
  consumers: readonly ConsumerFacts[],
  leases: ReadonlyMap<string, ReadPresence>,
  own: {readonly name: string; readonly workerId: string},
): DeadConsumer[] {
  const named = consumers.map(facts => ({facts, name: parseConsumerName(facts.name)}));
  const held = new Set(
    named
      .filter(({name}) => name.incarnation !== undefined)
      .filter(({name}) => !isDeadConsumer(name, leases.get(name.workerId), false))
      .map(({name}) => name.workerId),
  );
  held.add(own.workerId);
  return named
    .filter(({facts}) => facts.name !== own.name)
    .filter(({facts}) => isSuspect(facts))
    .filter(({name}) => isDeadConsumer(name, leases.get(name.workerId), held.has(name.workerId)))
    .sort((x, y) => Number(holdsSuspects(x.facts.name)) - Number(holdsSuspects(y.facts.name)))
    .map(({facts, name}) => ({
      name: facts.name,
      pending: facts.pending,
      // Under our own id nobody else can have come back: the lease is ours.
      minIdleMs: name.incarnation === undefined && name.workerId !== own.workerId ? FOREIGN_MIN_IDLE_MS : 0,
    }));
}

const pendingOf = (consumers: readonly DeadConsumer[]): number =>
  consumers.reduce((sum, {pending}) => sum + pending, 0);

const isSuspect = ({pending, idleMs}: ConsumerFacts): boolean => pending > 0 || idleMs > LOOKS_DEAD_MS;

interface Found {
  readonly at: number;
  readonly consumers: DeadConsumer[];
}

export interface Recovered {
  readonly entry: ControlEntry;
  /** The consumer that had it. */
  readonly from: string;
}

export class Recovery {
  private readonly found = new Map<string, Found>();

  /** @param own our name in the groups. */
  constructor(
    private readonly store: Store,
    private readonly group: string,
    private readonly own: {readonly name: string; readonly workerId: string},
  ) {}

  /**
   * Look for dead consumers of a stream, if it is our turn; those that hold nothing are deleted.
   * @param room if there is more, others get a turn at once.
   * @param urgent look also when it is not our turn.
   * @returns whether there is something to take.
   */
  async look(stream: string, room: Room, urgent = false): Promise<boolean> {
    if (!(await takeRecoveryTurn(this.store, stream, TURN_MS)) && !urgent) return false;
    const dead = await this.deadOn(stream);
    for (const {name} of dead.filter(({pending}) => pending === 0))
      await dropConsumer(this.store, stream, this.group, name);
    const left = dead.filter(({pending}) => pending > 0);
    const consumers = left.filter(({name}) => room.alone > 0 || !holdsSuspects(name));
    if (consumers.length > 0) this.found.set(stream, {at: performance.now(), consumers});
    if (consumers.length < left.length || pendingOf(left) > room.free)
      await passRecoveryTurn(this.store, stream);
    return consumers.length > 0;
  }

  /** Take over as much as there is room for of what the last look found dead. */
  async take(stream: string, room: Room): Promise<Recovered[]> {
    const found = this.found.get(stream);
    if (found === undefined) return [];
    const taken: Recovered[] = [];
    let {alone} = room;
    while (taken.length < room.free) {
      const [next] = found.consumers;
      if (next === undefined || performance.now() - found.at > BELIEVED_MS) {
        this.found.delete(stream);
        break;
      }
      const isForSuspects = holdsSuspects(next.name);
      const wanted = Math.min(room.free - taken.length, isForSuspects ? alone : Infinity, MAX_CLAIM);
      if (wanted === 0) break;
      const entries = await this.claim(stream, next, wanted);
      for (const entry of entries) taken.push({entry, from: next.name});
      if (isForSuspects) alone -= entries.length;
      if (entries.length < wanted) {
        found.consumers.shift();
        if (next.minIdleMs === 0) await dropConsumer(this.store, stream, this.group, next.name);
      }
    }
    return taken;
  }

  /**
   * Take over what earlier lives of this worker id left on its own stream. Nobody else does: what is addressed to one
   * worker waits for a worker of that id.
   */
  async takeOwnStream(stream: string): Promise<Recovered[]> {
    const taken: Recovered[] = [];
    for (const {name, pending} of await consumersOf(this.store, stream, this.group)) {
      if (name === this.own.name) continue;
      for (let isEmpty = pending === 0; !isEmpty;) {
        const entries = await this.claim(stream, {name, pending, minIdleMs: 0}, MAX_CLAIM);
        for (const entry of entries) taken.push({entry, from: name});
        isEmpty = entries.length === 0;
      }
      await dropConsumer(this.store, stream, this.group, name);
    }
    return taken;
  }

  /** Whether the process that holds a fence is gone. */
  async isGone(owner: string): Promise<boolean> {
    const name = parseConsumerName(owner);
    const leases = await liveLeases(this.store, [name.workerId]);
    return isDeadConsumer(name, leases.get(name.workerId), name.workerId === this.own.workerId);
  }

  private async deadOn(stream: string): Promise<DeadConsumer[]> {
    const consumers = await consumersOf(this.store, stream, this.group);
    const suspects = consumers.filter(facts => facts.name !== this.own.name && isSuspect(facts));
    if (suspects.length === 0) return [];
    const leases = await liveLeases(
      this.store,
      suspects.map(({name}) => parseConsumerName(name).workerId),
    );
    return deadConsumers(consumers, leases, this.own);
  }

  private claim(stream: string, dead: DeadConsumer, count: number): Promise<ControlEntry[]> {
    return claimPending(this.store, {
      ...{stream, group: this.group, from: dead.name, to: this.own.name},
      ...{minIdleMs: dead.minIdleMs, count: Math.min(count, MAX_CLAIM)},
    });
  }
}

/** Entries in one claim: one script must not hold the server for long. */
const MAX_CLAIM = 100;
