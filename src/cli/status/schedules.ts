/** The line of `by status` about schedules. */
import {countSchedules} from '../../store/schedules.js';
import {serverTimeMs, type Store} from '../../store/store.js';
import {formatDuration} from '../duration.js';

/** A schedule is late once it should have been looked at for so long: six looks of a scheduler. */
const LATE_MS = 30_000;

export interface StatusLine {
  /** What it is about: the first column. */
  readonly name: string;
  readonly text: string;
}

/** `12 active  1 paused   next nightly-report in 3h12m   late 0`; no line where there are no schedules. */
export async function scheduleStatus(store: Store, workspace: string): Promise<StatusLine[]> {
  const now = Math.floor(await serverTimeMs(store));
  const {active, paused, finished, late, next} = await countSchedules(store, workspace, {
    now,
    lateMs: LATE_MS,
  });
  if (active + paused + finished === 0) return [];
  const counts = [
    `${active} active`,
    ...(paused > 0 ? [`${paused} paused`] : []),
    ...(finished > 0 ? [`${finished} finished`] : []),
  ];
  const wait = next && formatDuration(Math.max(60_000, Math.round((next.at - now) / 60_000) * 60_000));
  const parts = [counts.join('  '), ...(next ? [`next ${next.externalId} in ${wait}`] : []), `late ${late}`];
  return [{name: 'schedules', text: parts.join('   ')}];
}
