/** Which commands are on-call work, and where they go. */
import {objectOf} from '../protocol/fields.js';
import {slotTypeOf} from '../protocol/orchestration/status.js';
import {readStatuses} from '../store/agent-status.js';
import {hasOnCallReader} from '../store/on-call.js';
import {isOnline} from '../store/presence.js';
import type {Store} from '../store/store.js';

/** From this priority on a command is on-call work: a task's `high`. */
export const ON_CALL_PRIORITY = 1;

export interface Urgency {
  /** Of the command's header. */
  readonly metadata: Readonly<Record<string, unknown>>;
  readonly priority?: number | undefined;
}

/** Sent with `slot_type: on_call`, or with a priority of at least {@link ON_CALL_PRIORITY}. */
export const isOnCall = ({metadata, priority = 0}: Urgency): boolean =>
  priority >= ON_CALL_PRIORITY ||
  slotTypeOf(metadata['slot_type'] ?? objectOf(metadata['by_run'])['slot_type']) === 'on_call';

/** The stream on-call work of an agent type goes to: where nobody keeps free for it, that of all work. */
export async function onCallStreamFor(store: Store, agentType: string): Promise<string> {
  const {keys} = store;
  const isApart = await hasOnCallReader(store, agentType);
  return isApart ? keys.onCallStream(agentType) : keys.ctrlStream(agentType);
}

/** Whether a worker has on-call work and keeps what room it has left for more of it. */
export async function isReserved(store: Store, workerId: string): Promise<boolean> {
  const [record] = await readStatuses(store, [workerId]);
  return record?.reserveOnCall === true && record.status === 'on_call' && (await isOnline(store, workerId));
}
