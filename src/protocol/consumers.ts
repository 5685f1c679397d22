/**
 * Names in a consumer group. Other SDKs read under their bare worker id (spec §6.2); ours add the incarnation, so that
 * a restarted worker is told from the one whose entries it finds.
 */
import type {ReadPresence} from './presence.js';

/** Hex digits of the lease token that tell one incarnation of a worker id from the next. */
const INCARNATION_DIGITS = 12;
/** An incarnation no token begins with in practice: see {@link handOverName}. */
const NOBODY = '0'.repeat(INCARNATION_DIGITS);
/** Another: see {@link suspectsName}. */
const NOBODY_ALONE = 'f'.repeat(INCARNATION_DIGITS);

export interface ConsumerName {
  readonly workerId: string;
  /** Undefined for the bare names of other SDKs. */
  readonly incarnation: string | undefined;
}

/** `{worker id}#{incarnation}`: our name in a group, and who holds a fence. No worker id of ours holds a `#`. */
export function consumerName(workerId: string, token: string): string {
  return `${workerId}#${token.slice(0, INCARNATION_DIGITS)}`;
}

/**
 * Where a worker that stops puts what it has not begun: the name of a consumer that is dead from the start, so that any
 * live worker takes it up.
 */
export const handOverName = (workerId: string): string => `${workerId}#${NOBODY}`;

/**
 * The same for what must run alone and finds no room where it was taken up. Apart, so that it is taken last, and only by
 * who has room: it would keep others waiting behind it.
 */
export const suspectsName = (workerId: string): string => `${workerId}#${NOBODY_ALONE}`;

export const holdsSuspects = (name: string): boolean => name.endsWith(`#${NOBODY_ALONE}`);

export function parseConsumerName(name: string): ConsumerName {
  const [, workerId, incarnation] = /^([^#]+)#([0-9a-f]{12})$/.exec(name) ?? [];
  return workerId === undefined ? {workerId: name, incarnation: undefined} : {workerId, incarnation};
}

/**
 * Whether the process behind a consumer is gone: its worker id has no lease, or another incarnation has it. A bare name
 * is alive as long as anybody holds the lease, unless that is known to be an incarnation of ours.
 *
 * @param lease the lease of the consumer's worker id.
 * @param heldByOurs whether an incarnation of ours is known to hold that lease.
 */
export function isDeadConsumer(
  {incarnation}: ConsumerName,
  lease: ReadPresence | undefined,
  heldByOurs: boolean,
): boolean {
  if (lease === undefined) return true;
  if (incarnation === undefined) return heldByOurs;
  return lease.token?.slice(0, INCARNATION_DIGITS) !== incarnation;
}
