/** `schedules` of `by status`: how many fire, which is next, and whether any is late. */
import {countSchedules} from '../../store/schedules.js';
import {serverNowMs} from '../../store/store.js';
import {formatDuration} from '../duration.js';
import type {StatusSection} from './section.js';

/** A schedule is late once it should have been looked at for so long: six looks of a scheduler. */
const LATE_MS = 30_000;

/** `12 active  1 paused   next nightly-report in 3h12m   late 0`; no line where there are no schedules. */
export const scheduleSection: StatusSection = async (store, workspace) => {
  const now = await serverNowMs(store);
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
  const facts = {active, paused, finished, late, next: next ?? null};
  return [{name: 'schedules', text: parts.join('   '), facts}];
};
