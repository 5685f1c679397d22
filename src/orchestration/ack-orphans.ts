/**
 * What dead foreign workers left in their consumer groups. Other SDKs never take up what a dead worker had (spec §6.3): its
 * entries stay pending for ever, also those of attempts that were given up and tried again. These are settled here, where
 * that is wanted: it touches groups of others. Entries of any other command stay as they are.
 */
import {isValidId} from '../ids.js';
import {readCommandEntry} from '../protocol/commands.js';
import {parseConsumerName} from '../protocol/consumers.js';
import {objectOf} from '../protocol/fields.js';
import {readable} from '../protocol/limits.js';
import {isFinalAttempt} from '../protocol/orchestration/states.js';
import {knownAgentTypes} from '../registry/queues.js';
import {groupsOf, settleMany, type ControlEntry} from '../store/control-streams.js';
import {lookAt} from '../store/orchestration.js';
import type {Store} from '../store/store.js';
import {entriesById, pendingEntries} from '../store/queues.js';
import {consumersOf, liveLeases} from '../store/recovery.js';
import type {OrchestratorDeps} from './deps.js';
import {isBegun} from './ending.js';
import {nowAndThen} from './now-and-then.js';
import type {OrchestratorRole} from './serve.js';

/** Entries of a consumer looked at together. */
const PAGE = 100;
const EVERY_MS = 10_000;

/** @param options.everyMs milliseconds between passes, more or less. Default 10,000. */
export function orphansRole(
  deps: OrchestratorDeps,
  {everyMs = EVERY_MS}: {readonly everyMs?: number} = {},
): OrchestratorRole {
  const {log} = deps;
  const look = async () => {
    for (const {stream, entryId} of await ackOrphans(deps))
      log.info('settled what a dead worker left', {stream, entry: entryId});
  };
  return {
    name: 'orphans',
    run: signal =>
      nowAndThen(everyMs, signal, look, error =>
        log.warn('looking for what dead workers left failed', {error}),
      ),
  };
}

export interface AckedOrphan {
  readonly stream: string;
  readonly entryId: string;
}

/** Once over all agent types; any number may do so beside each other. @returns what was settled. */
export async function ackOrphans(deps: OrchestratorDeps): Promise<readonly AckedOrphan[]> {
  const {store} = deps.workspace;
  const types = await knownAgentTypes(store);
  const found = await Promise.all(types.map(type => ackOnStream(deps, store.keys.ctrlStream(type))));
  return found.flat();
}

async function ackOnStream(deps: OrchestratorDeps, stream: string): Promise<AckedOrphan[]> {
  const {store} = deps.workspace;
  const groups = await groupsOf(store, stream);
  const acked: AckedOrphan[] = [];
  for (const {name: group} of groups.filter(({pending}) => pending > 0)) {
    for (const holder of await foreignHolders(store, stream, group)) {
      for await (const page of pagesOf(store, stream, group, holder.name)) {
        const over = await Promise.all(page.map(entry => isOver(deps, entry, holder)));
        const settled = page.filter((_, i) => over[i]).map(({id}) => id);
        if (settled.length === 0) continue;
        // What another group has not read yet must stay for it.
        await settleMany(store, group, stream, settled, groups.length === 1);
        acked.push(...settled.map(entryId => ({stream, entryId})));
      }
    }
  }
  return acked;
}

interface Holder {
  readonly name: string;
  /** Its worker has a lease; it may be another life of it than the one that was given the entry. */
  readonly isAlive: boolean;
}

/** Consumers of other SDKs that hold something. Ours take over what ours leave. */
async function foreignHolders(store: Store, stream: string, group: string): Promise<Holder[]> {
  const holders = (await consumersOf(store, stream, group))
    .filter(({pending}) => pending > 0)
    .map(({name}) => ({name, ...parseConsumerName(name)}))
    .filter(({incarnation}) => incarnation === undefined);
  const leases = await liveLeases(
    store,
    holders.map(({workerId}) => workerId),
  );
  return holders.map(({name, workerId}) => ({name, isAlive: leases.has(workerId)}));
}

/** What a consumer holds, oldest first. */
async function* pagesOf(
  store: Store,
  stream: string,
  group: string,
  consumer: string,
): AsyncGenerator<ControlEntry[]> {
  for (let after: string | undefined; ;) {
    const from = after === undefined ? {} : {after};
    const held = await pendingEntries(store, stream, group, {consumer, count: PAGE, ...from});
    const ids = held.map(({entryId}) => entryId);
    yield (await entriesById(store, stream, ids)).filter(entry => entry !== undefined);
    after = ids.at(-1);
    if (after === undefined || ids.length < PAGE) return;
  }
}

/**
 * It is the command of an attempt of this workspace that has ended, and that nothing waits for any more. A worker that lives
 * settles what ended by itself; what was given up because an earlier life of it was lost it never will.
 */
async function isOver(
  {workspace}: OrchestratorDeps,
  {data}: ControlEntry,
  {isAlive}: Holder,
): Promise<boolean> {
  const header = readable(() => readCommandEntry(data))?.header;
  const run = objectOf(header?.metadata['by_run']);
  const attemptId = run['attempt_id'];
  if (header === undefined || run['workspace'] !== workspace.name) return false;
  if (typeof attemptId !== 'string' || !isValidId(attemptId)) return false;
  const work = await lookAt(workspace, 'att', attemptId);
  if (!isBegun(work) || work.attempt.attemptId !== attemptId) return false;
  const {attempt} = work;
  const hasEnded = attempt.place === 'gone' && isFinalAttempt(attempt.status);
  const isLost = attempt.errorClass === 'worker_lost';
  return attempt.messageId === header.messageId && hasEnded && (isLost || !isAlive);
}
