/**
 * Workers of one agent fleet that live for a number of Redis commands, one after the other, without processes: what a
 * thousand kills need. Each takes up at once what the one before left.
 */
import {newHexUuid} from '../../src/ids.js';
import {silentLogger} from '../../src/log.js';
import {consumerName} from '../../src/protocol/consumers.js';
import {CONSUMER_GROUP} from '../../src/protocol/keys.js';
import type {Tracer} from '../../src/protocol/tracer.js';
import {ensureGroup, streamReply, type ControlEntry} from '../../src/store/control-streams.js';
import {claimPending} from '../../src/store/recovery.js';
import {RenewedSessions} from '../../src/store/renewed-sessions.js';
import type {Store} from '../../src/store/store.js';
import {sweepTimers} from '../../src/store/timers.js';
import {toHandler, type Agent, type Handler} from '../../src/worker/agent.js';
import {readEntry} from '../../src/worker/read-entry.js';
import {RunFences} from '../../src/worker/run-fences.js';
import {RunningTasks} from '../../src/worker/running.js';
import {Settler} from '../../src/worker/settler.js';
import {runTurn, type TurnEnvironment} from '../../src/worker/turn.js';
import {Crash} from './crash.js';

/** Most turns at once. */
const SLOTS = 20;

export class MortalWorker {
  /** How many have died. */
  deaths = 0;
  private readonly handlers = new Map<string, Handler>();
  private dead = '';

  /** @param mischief a source of chance: some RESUMEs come twice, and none in the order in which they were sent. */
  constructor(
    private readonly store: Store,
    agents: readonly Agent[],
    private readonly mischief?: () => number,
    private readonly tracer?: Tracer,
  ) {
    for (const agent of agents) {
      const handler = toHandler(agent);
      for (const type of handler.agentTypes) this.handlers.set(type, handler);
    }
  }

  /** One worker after the other works, until `isDone`. @param lifespan commands the next one lives for. */
  async work(isDone: () => Promise<boolean>, lifespan: () => number): Promise<void> {
    const streams = [...this.handlers.keys()].map(type => this.store.keys.ctrlStream(type));
    for (const stream of streams) await ensureGroup(this.store, stream, CONSUMER_GROUP);
    while (!(await isDone())) await this.live(lifespan(), isDone);
  }

  private async live(commands: number, isDone: () => Promise<boolean>): Promise<void> {
    const owner = consumerName('w', newHexUuid());
    const {store: mortal, isDead} = dying(this.store, commands);
    const env = this.environment(mortal, owner);
    const turns = new Set<Promise<void>>();
    const start = (entry: ControlEntry, agentType: string, takenFrom: string) => {
      const turn = this.run(env, entry, agentType, takenFrom, isDead).finally(() => turns.delete(turn));
      turns.add(turn);
    };
    for (const [agentType] of this.handlers) {
      const stream = this.store.keys.ctrlStream(agentType);
      const left = await claimPending(this.store, {
        ...{stream, group: CONSUMER_GROUP, from: this.dead || owner, to: owner, minIdleMs: 0, count: 1000},
      });
      for (const entry of left) start(entry, agentType, this.dead);
    }
    for (let round = 0; !isDead(); round++) {
      for (const [agentType] of this.handlers) {
        if (turns.size >= SLOTS) break;
        for (const entry of await this.readSome(agentType, owner)) start(entry, agentType, '');
      }
      await sweepTimers(mortal).catch(ignoreCrash);
      if (turns.size === 0 && (await isDone())) break;
      await new Promise(resolve => setTimeout(resolve, 1));
    }
    await Promise.allSettled([...turns]);
    await env.settler.flush().catch(ignoreCrash);
    this.dead = owner;
    if (isDead()) this.deaths++;
  }

  private async readSome(agentType: string, owner: string): Promise<ControlEntry[]> {
    const stream = this.store.keys.ctrlStream(agentType);
    const reply = await this.store.commands.run(redis =>
      redis.callBuffer('XREADGROUP', 'GROUP', CONSUMER_GROUP, owner, 'COUNT', '5', 'STREAMS', stream, '>'),
    );
    return streamReply(reply);
  }

  private async run(
    env: TurnEnvironment,
    entry: ControlEntry,
    agentType: string,
    takenFrom: string,
    isDead: () => boolean,
  ): Promise<void> {
    const handler = this.handlers.get(agentType);
    const command = readEntry(entry);
    if (this.mischief !== undefined && command.action === 'RESUME' && takenFrom === '') {
      if (this.mischief() < 0.2) await this.repeat(entry);
      await new Promise(resolve => setTimeout(resolve, (this.mischief?.() ?? 0) * 4));
    }
    if (handler === undefined || (command.action !== 'ASK_AGENT' && command.action !== 'RESUME')) return;
    while (!isDead()) {
      try {
        const outcome = await runTurn(
          env,
          {entry, agentType, takenFrom, alone: false},
          command,
          agentType,
          handler,
        );
        if (outcome.kind !== 'later') return;
      } catch (error) {
        // A worker that could not reach Redis tries again; one that is dead does not.
        if (isDead()) return;
        throw error;
      }
      await new Promise(resolve => setTimeout(resolve, 2));
    }
  }

  private async repeat({stream, data}: ControlEntry): Promise<void> {
    if (data !== undefined) await this.store.commands.run(redis => redis.xadd(stream, '*', 'data', data));
  }

  private environment(store: Store, owner: string): TurnEnvironment {
    const abandon = new AbortController();
    return {
      ...{store, owner, group: CONSUMER_GROUP, workerId: 'w', now: Date.now, log: silentLogger},
      running: new RunningTasks(),
      fences: new RunFences(store, {workerId: 'w', log: silentLogger, ttlMs: 15_000}),
      tracer: this.tracer,
      renewed: new RenewedSessions(Date.now),
      settler: new Settler(store, CONSUMER_GROUP, () => true, silentLogger),
      deletesEntries: () => true,
      abandon: abandon.signal,
      cancelGraceMs: 1000,
      // Nothing here is poison: it only happens to be there when workers die.
      maxAttempts: 100_000,
      workspaceRoot: '/nonexistent',
      stepAside: () => () => undefined,
      servesNow: () => true,
      reportExhausted: () => Promise.resolve(),
      isGone: other => Promise.resolve(other !== owner),
    };
  }
}

function ignoreCrash(error: unknown): void {
  if (!(error instanceof Crash)) throw error;
}

/** The same store until so many commands have gone through; the one that is on its way then may arrive or not. */
function dying(store: Store, commands: number): {store: Store; isDead: () => boolean} {
  let left = commands;
  let over = false;
  const isOver = () => over;
  const connection = Object.create(store.commands) as Store['commands'];
  connection.run = async (issue, options) => {
    if (over || left-- <= 0) {
      over = true;
      throw new Crash();
    }
    const reply = await store.commands.run(issue, options);
    // Its reply is lost with the process.
    if (isOver()) throw new Crash();
    return reply;
  };
  return {store: {...store, commands: connection}, isDead: isOver};
}
