/** Pending deliveries: commands that wait until somebody of their agent type is online, wherever they are by now. */
import {isValidId} from '../ids.js';
import {entryTimeMs} from '../protocol/deadletter.js';
import {isDeliverable, readPendingDelivery, type PendingDelivery} from '../protocol/delivery.js';
import {ProtocolError, requireData} from '../protocol/limits.js';
import {unsettledEntries} from '../store/by-hand.js';
import {nextPending, pendingTypes} from '../store/control-plane.js';
import type {ControlEntry} from '../store/control-streams.js';
import {heldDocument} from '../store/held-back.js';
import {onlineMembers} from '../store/presence.js';
import {heldBack} from '../store/queues.js';
import type {Store} from '../store/store.js';

export interface HeldDelivery {
  readonly entryId: string;
  /** `held`: in the queue of its agent type. `arriving`: in the stream the senders write to, until a manager takes it. */
  readonly place: 'held' | 'arriving';
  /** '' if that can not be read. */
  readonly agentType: string;
  /** Unix milliseconds by the server's clock. */
  readonly at: number;
  /** As it was stored, where it is still there. */
  readonly entry: ControlEntry;
  /** Undefined if it can not be read. */
  readonly delivery: PendingDelivery | undefined;
  /** Why it can not be delivered, or ''. */
  readonly unreadable: string;
}

export interface HeldType {
  readonly agentType: string;
  readonly held: number;
  readonly workersOnline: number;
  /** When the one that is released next was sent: Unix milliseconds, null if none is held. */
  readonly firstAt: number | null;
}

const PAGE = 500;

/** Agent types that something is held back for, by name. */
export async function heldTypes(store: Store): Promise<HeldType[]> {
  const types = (await pendingTypes(store)).filter(isValidId).sort();
  const rows = await Promise.all(
    types.map(async agentType => {
      const [held, [first], online] = await Promise.all([
        heldBack(store, agentType),
        nextPending(store, agentType, 1),
        onlineMembers(store, agentType),
      ]);
      const firstAt = first === undefined ? null : entryTimeMs(first.entryId);
      return {agentType, held, workersOnline: online.workerIds.length, firstAt};
    }),
  );
  return rows.filter(({held}) => held > 0);
}

export interface HeldFilter {
  readonly agentType?: string | undefined;
  readonly limit: number;
}

/** In the order of their release for each agent type; those no manager has taken yet come last. */
export async function listHeld(
  store: Store,
  {agentType, limit}: HeldFilter,
): Promise<{readonly deliveries: readonly HeldDelivery[]; readonly hasMore: boolean}> {
  // First: what a manager takes meanwhile is then met in its queue.
  const arriving = await arrivingDeliveries(store, limit + 1);
  const types = agentType === undefined ? (await heldTypes(store)).map(row => row.agentType) : [agentType];
  const held: HeldDelivery[] = [];
  for (const type of types) {
    if (held.length > limit) break;
    const page = await nextPending(store, type, limit + 1);
    held.push(...page.map(one => heldDelivery(store, type, one.entryId, one.document)));
  }
  const taken = new Set(held.map(({entryId}) => entryId));
  const isMeant = (one: HeldDelivery) => agentType === undefined || one.agentType === agentType;
  const found = [...held, ...arriving.filter(one => isMeant(one) && !taken.has(one.entryId))];
  return {deliveries: found.slice(0, limit), hasMore: found.length > limit};
}

/** @param id an entry, an execution or a message. */
export async function findHeld(store: Store, id: string): Promise<HeldDelivery | undefined> {
  const isMeant = ({entryId, delivery}: HeldDelivery) =>
    entryId === id || delivery?.executionId === id || delivery?.messageId === id;
  const arriving = (await arrivingDeliveries(store, PAGE)).find(isMeant);
  // What a manager has taken meanwhile is in its queue by now.
  const types = (await pendingTypes(store)).filter(isValidId);
  for (const type of types) {
    const entryId = arriving?.entryId ?? id;
    const one = await heldDocument(store, type, entryId);
    if (one !== undefined) return heldDelivery(store, type, entryId, one.document);
  }
  if (arriving !== undefined) return arriving;
  for (const type of types) {
    for (let from = 0; ; from += PAGE) {
      const page = await nextPending(store, type, PAGE, from);
      const found = page.map(one => heldDelivery(store, type, one.entryId, one.document)).find(isMeant);
      if (found !== undefined) return found;
      if (page.length < PAGE) break;
    }
  }
  return undefined;
}

async function arrivingDeliveries(store: Store, count: number): Promise<HeldDelivery[]> {
  const rows = await unsettledEntries(store, store.keys.deliveryPending(), count);
  return rows.map(({entry}) => {
    const read = readDelivery(entry.data);
    const type = read.delivery?.targetAgentType ?? '';
    return {
      ...{entryId: entry.id, place: 'arriving', at: entryTimeMs(entry.id), entry},
      ...{agentType: isValidId(type) ? type : '', ...read},
    };
  });
}

function heldDelivery(
  store: Store,
  agentType: string,
  entryId: string,
  document: string | null,
): HeldDelivery {
  const data = document === null ? undefined : Buffer.from(document);
  const entry = {stream: store.keys.pendingQueue(agentType), id: entryId, data};
  return {entryId, place: 'held', agentType, at: entryTimeMs(entryId), entry, ...readDelivery(data)};
}

function readDelivery(data: Buffer | undefined): Pick<HeldDelivery, 'delivery' | 'unreadable'> {
  try {
    const delivery = readPendingDelivery(requireData(data));
    return {delivery, unreadable: isDeliverable(delivery) ? '' : 'it holds no command'};
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    return {delivery: undefined, unreadable: error.message};
  }
}
