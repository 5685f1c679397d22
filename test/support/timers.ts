/** For tests of durable executions: timers that go off when the test says so, not after a time that may be too short. */
import {keepMember} from '../../src/store/timers.js';
import type {Store} from '../../src/store/store.js';
import {until} from './stores.js';

/** Make an execution's timers due, once it has set one; the next look of a worker, twice a second, sends them. */
export async function timersDue(
  store: Store,
  execution: {readonly sessionId: string; readonly executionId: string},
): Promise<void> {
  const timers = store.keys.timers();
  const keep = keepMember(execution);
  const own = keep.slice(0, keep.lastIndexOf('/') + 1);
  await until(async () => {
    const members = await store.commands.run(redis => redis.zrange(timers, '0', '-1'));
    const mine = members.filter(member => member.startsWith(own) && member !== keep);
    for (const member of mine) await store.commands.run(redis => redis.zadd(timers, 'XX', 1, member));
    return mine.length > 0;
  });
}
