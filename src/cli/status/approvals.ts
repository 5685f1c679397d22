/** `approvals` of `by status`: what waits for a person. */
import {serverNowMs} from '../../store/store.js';
import {pendingApprovals} from '../../store/approvals.js';
import {openWorkspace} from '../../store/orchestration.js';
import {formatDuration} from '../duration.js';
import type {StatusSection} from './section.js';

export const approvalsSection: StatusSection = async (store, name) => {
  const workspace = openWorkspace(store, name);
  const nowMs = await serverNowMs(workspace.store);
  const waiting = (await pendingApprovals(workspace)).filter(({expiresAt}) => expiresAt > nowMs);
  const [first] = waiting;
  if (first === undefined) return [];
  const oldest = Math.min(...waiting.map(({createdAt}) => createdAt));
  return [
    {
      name: 'approvals',
      text: `${waiting.length} pending (oldest ${formatDuration(nowMs - oldest)}, expires in ${formatDuration(first.expiresAt - nowMs)})`,
      facts: {pending: waiting.length, oldest_ms: nowMs - oldest},
    },
  ];
};
