/**
 * Schedulers that are processes, killed with SIGKILL: whatever one was doing, each tick of each schedule is one task. What
 * dies between two given commands is the business of schedules.test.ts; here nobody chooses where.
 */
import {spawn} from 'node:child_process';
import {once} from 'node:events';
import {resolve} from 'node:path';
import {createInterface} from 'node:readline';
import {expect, test, vi} from 'vitest';
import {listTasks} from '../../src/orchestration/read.js';
import {taskPort} from '../../src/orchestration/task-port.js';
import type {AgentTask} from '../../src/protocol/orchestration/task.js';
import {openWorkspace} from '../../src/store/orchestration.js';
import * as stored from '../../src/store/schedules.js';
import type {Store} from '../../src/store/store.js';
import {MINUTE, overdue, W} from '../orchestration/schedule-support.js';
import {seeded} from '../support/seeded.js';
import {describeRedis, until, type TestStore} from '../support/stores.js';

vi.setConfig({testTimeout: 240_000});

const SCHEDULES = 12;
const TICKS = 30;
const REPLICAS = 4;
/** Submits a life sees at most; and the most milliseconds after the last of them, since a kill comes when it comes. */
const LONGEST_LIFE = 18;
const AFTER_MS = 6;
/** Submits a life begins at most after that, however late the kill comes. */
const SLACK = 6;

interface Life {
  /** Resolves when it is dead. */
  readonly dead: Promise<unknown>;
  kill(): void;
  /** Calls back for each line it says. */
  hear(line: (text: string) => void): void;
}

/** @param most submits it begins; then it stands still, until it is killed. */
function spawnScheduler(at: TestStore, {keys}: Store, most: number): Life {
  const words = {
    store: {url: at.url('manager'), prefix: keys.prefix, keySchema: keys.schema},
    scheduler: {workspace: W, pollMs: 20, leaseMs: 400, concurrency: 3},
    most,
  };
  const child = spawn(
    process.execPath,
    [resolve(import.meta.dirname, 'scheduler.mjs'), JSON.stringify(words)],
    {stdio: ['ignore', 'pipe', process.env['BY_FAULT_LOG'] === undefined ? 'ignore' : 'inherit']},
  );
  const lines = createInterface({input: child.stdout});
  return {
    dead: once(child, 'close'),
    kill: () => void child.kill('SIGKILL'),
    hear: line => void lines.on('line', line),
  };
}

async function tasksOf(store: Store): Promise<AgentTask[]> {
  const all: AgentTask[] = [];
  let cursor: string | undefined;
  do {
    const page = await listTasks(openWorkspace(store, W), {
      limit: 200,
      ...(cursor !== undefined && {cursor}),
    });
    all.push(...page.items);
    cursor = page.cursor;
  } while (cursor !== undefined);
  return all;
}

describeRedis('scheduler processes', at => {
  test('four of them, killed at random and started again, fire each tick exactly once', async () => {
    const store = at.open();
    const seed = Date.now() % 1_000_000;
    const said = `seed ${seed}`;
    const random = seeded(seed);
    const port = taskPort(store);
    const made = await Promise.all(
      Array.from({length: SCHEDULES}, (_, i) =>
        overdue(store, port, TICKS - 1, {externalId: `s-${i}`, maxRuns: TICKS}),
      ),
    );
    const heard = {kills: 0, midway: 0};
    const lives = new Set<Life>();
    let isDone = false;
    const hasEnded = () => isDone;
    // One process after the other, each until it has begun so many submits; what it does then is cut off.
    const replica = async () => {
      while (!hasEnded()) {
        let left = 1 + Math.floor(random() * LONGEST_LIFE);
        const life = spawnScheduler(at, store, left + SLACK);
        lives.add(life);
        at.cleanup(() => life.kill());
        let underWay = 0;
        const end = {byUs: false};
        life.hear(line => {
          if (line.startsWith('submits ')) underWay++;
          if (line.startsWith('submitted ')) underWay--;
          if (!line.startsWith('submits ') || --left !== 0) return;
          const kill = () => {
            end.byUs = true;
            life.kill();
          };
          if (random() < 0.5) kill();
          else setTimeout(kill, random() * AFTER_MS);
        });
        await life.dead;
        lives.delete(life);
        if (end.byUs) heard.kills++;
        else if (!hasEnded()) throw new Error(`a scheduler ended by itself; ${said}`);
        if (end.byUs && underWay > 0) heard.midway++;
      }
    };
    const replicas = Array.from({length: REPLICAS}, replica);
    const hasFired = async ({scheduleId}: (typeof made)[number]) => {
      const schedule = await stored.readScheduleById(store, W, scheduleId);
      return schedule?.finishedReason !== undefined && schedule.firing.length === 0;
    };
    const allFired = async () => {
      // One after the other, for looking takes time from those that work.
      for (const one of made) await until(() => hasFired(one));
    };
    await Promise.race([allFired(), Promise.all(replicas)]);
    isDone = true;
    for (const life of lives) life.kill();
    await Promise.all(replicas);

    const tasks = await tasksOf(store);
    expect(tasks, said).toHaveLength(SCHEDULES * TICKS);
    for (const {scheduleId, first} of made) {
      const sessions = tasks
        .filter(({spawnedBy}) => spawnedBy === `schedule:${scheduleId}`)
        .map(({sessionId}) => sessionId)
        .sort();
      const due = Array.from({length: TICKS}, (_, i) => first + i * MINUTE);
      expect(sessions, said).toEqual(due.map(tick => `schedule-session:${scheduleId}:${tick}`).sort());
      expect(await stored.readScheduleById(store, W, scheduleId), said).toMatchObject({
        ...{runCount: TICKS, missedCount: 0, failureStreak: 0, finishedReason: 'max_runs', firing: []},
      });
      const recorded = await stored.lastTicks(store, W, scheduleId, 2 * TICKS);
      expect(recorded.map(({tick}) => tick).sort(), said).toEqual(due);
      expect(
        recorded.every(({outcome}) => outcome === 'submitted'),
        said,
      ).toBe(true);
    }
    // Else the kills proved nothing: enough of them, and some between a submit and its strike.
    expect(heard.kills, said).toBeGreaterThan(SCHEDULES);
    expect(heard.midway, said).toBeGreaterThan(0);
  });
});
