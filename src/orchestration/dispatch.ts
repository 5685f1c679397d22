/** The dispatcher: what is due, ready, and has room goes to the control stream of its agent type, once. */
import {serverNowMs} from '../store/store.js';
import {messageOf} from '../errors.js';
import {route} from '../availability/send.js';
import {lastEventId} from '../store/data-streams.js';
import {findExecution} from '../store/executions.js';
import {AgentPool} from '../protocol/orchestration/pool.js';
import {readRecord} from '../protocol/orchestration/record.js';
import {isFinalAttempt} from '../protocol/orchestration/states.js';
import {POOL_TTL_S} from '../protocol/orchestration/retention.js';
import {
  firstMembers,
  membersUpTo,
  readDocs,
  renew,
  setMembers,
  sizeOf,
  takeOut,
} from '../store/orchestration-lists.js';
import {type Work} from '../store/orchestration.js';
import {routableMembers} from '../store/routable.js';
import {draftOf} from './by-run.js';
import type {Decision} from './decision.js';
import {decideOn} from './decide.js';
import {forEach, type OrchestratorDeps} from './deps.js';
import {gate, needsGate} from './gate.js';
import {claimed, due, notSent, sent, stoppedBefore} from './dispatching.js';
import {isBegun, type Begun} from './ending.js';
import {roomOf} from './pools.js';
import {stopAttempt} from './stop-attempt.js';

const DUE_AT_ONCE = 100;

/**
 * Once over everything that may be sent.
 * @param routable of whoever does so again and again: see {@link counting}.
 * @returns how many attempts were claimed.
 */
export async function dispatchPass(
  deps: OrchestratorDeps,
  signal?: AbortSignal,
  routable: CountRoutable = counting(deps),
): Promise<number> {
  const {workspace} = deps;
  const {keys, name} = workspace;
  const nowMs = await serverNowMs(workspace.store);
  const waiting = await membersUpTo(workspace, keys.orchDelayed(name), nowMs, DUE_AT_ONCE);
  await forEach(deps, waiting, 'making an attempt ready', id => decideOn(workspace, 'att', id, begun(due)));
  const pools = await setMembers(workspace, keys.orchPools(name));
  const ready = (await Promise.all(pools.map(pool => readyIn(deps, pool, nowMs)))).flat();
  let claims = 0;
  await forEach(deps, ready, 'dispatching an attempt', async id => {
    const claim = await decideOn(workspace, 'att', id, begun(claimed));
    const attempt = claim?.done?.decision.takes;
    if (claim === undefined || attempt === undefined || !isBegun(claim.work)) return;
    claims++;
    await sendAttempt(deps, {...claim.work, attempt}, signal, routable);
  });
  return claims;
}

const begun =
  (decide: (work: Begun) => Decision | undefined) =>
  (work: Work): {readonly decision: Decision} | undefined => {
    const decision = isBegun(work) ? decide(work) : undefined;
    return decision === undefined ? undefined : {decision};
  };

/** The first attempts of a pool, as many as it has room for. */
async function readyIn({workspace}: OrchestratorDeps, key: string, nowMs: number): Promise<string[]> {
  const {keys, name} = workspace;
  const [[doc], [waiting = 0, inflight = 0]] = await Promise.all([
    readDocs(workspace, [keys.orchPool(name, key)]),
    sizeOf(workspace, [keys.orchReady(name, key), keys.orchInflight(name, key)]),
  ]);
  const pool = readRecord(AgentPool, doc);
  if (pool === undefined) {
    if (waiting + inflight === 0) await takeOut(workspace, keys.orchPools(name), key);
    return [];
  }
  if (waiting + inflight > 0) await renewSometimes();
  const room = roomOf(pool, nowMs) - inflight;
  return room > 0 && waiting > 0 ? firstMembers(workspace, keys.orchReady(name, key), room) : [];

  // A lifetime of days need not be renewed ten times a second.
  async function renewSometimes() {
    if (Math.random() < 0.01) await renew(workspace, keys.orchPool(name, key), POOL_TTL_S);
  }
}

/** Claims that were not followed by sending: their dispatcher died. Sending again is harmless. */
export async function repairPass(deps: OrchestratorDeps, signal?: AbortSignal): Promise<void> {
  const {workspace, times} = deps;
  const {keys, name} = workspace;
  const before = (await serverNowMs(workspace.store)) - times.repairMs;
  const pools = await setMembers(workspace, keys.orchPools(name));
  const found = await Promise.all(
    pools.map(pool => membersUpTo(workspace, keys.orchInflight(name, pool), before, ALL)),
  );
  await forEach(deps, found.flat(), 'repairing an attempt', async id => {
    const looked = await decideOn(workspace, 'att', id, () => undefined);
    if (looked === undefined || !isBegun(looked.work)) return;
    const {dispatchPhase, phaseAt} = looked.work.attempt;
    if (dispatchPhase === 'claimed' && phaseAt <= before) await sendAttempt(deps, looked.work, signal);
  });
}

const ALL = 10_000;

/**
 * Send a claimed attempt. Its message and its execution have their ids since it was made, and by-framework's side accepts a
 * message once: whoever sends it again finds it sent.
 */
export async function sendAttempt(
  deps: OrchestratorDeps,
  work: Begun,
  signal?: AbortSignal,
  routable: CountRoutable = counting(deps),
): Promise<void> {
  const {workspace, now, tracer} = deps;
  const {store} = workspace;
  const {attemptId} = work.attempt;
  if (work.attempt.stopRequestedAt !== undefined && !(await wasSent(deps, work))) {
    await decideOn(workspace, 'att', attemptId, begun(stoppedBefore));
    return;
  }
  let decide: (work: Begun) => Decision | undefined;
  let isSent = false;
  try {
    const isGated = needsGate(work.task.policy) && !(await wasSent(deps, work));
    const instead = isGated ? await gate(deps, work) : undefined;
    if (instead !== undefined) {
      await decideOn(workspace, 'att', attemptId, begun(instead));
      return;
    }
    const cursor = await lastEventId(store, work.task.sessionId);
    const [result, workers] = await Promise.all([
      route({store, now, tracer}, draftOf(work, now(), signal)),
      routable(work.task.agentType),
    ]);
    const {streamName, streamId, policy, status, duplicate} = result;
    isSent = !duplicate;
    // Sent before, nobody knows when: its events may be among the first.
    const from = duplicate ? '0-0' : cursor;
    decide = one => sent(one, {streamName, streamId, policy, status, cursor: from, routable: workers});
  } catch (error) {
    if (signal?.aborted) return;
    deps.log.debug('an attempt was not sent', {attempt_id: attemptId, error: messageOf(error)});
    decide = one => notSent(one, error);
  }
  const noted = await decideOn(workspace, 'att', attemptId, begun(decide));
  if (noted === undefined || !isBegun(noted.work) || !isSent) return;
  // Whoever stopped it meanwhile found nothing to stop yet.
  const {attempt, task} = noted.work;
  const isLate = isFinalAttempt(attempt.status);
  if (isLate || attempt.stopRequestedAt !== undefined)
    await stopAttempt(deps, task.sessionId, attempt, isLate ? 'force' : (attempt.stopMode ?? 'graceful'));
}

type CountRoutable = (agentType: string) => Promise<number | undefined>;

const COUNTED_EVERY_MS = 1000;

/** Counts the workers of each agent type, once a second at most: they are told to people, and decide nothing. */
export function counting({workspace: {store}}: OrchestratorDeps): CountRoutable {
  const counted = new Map<string, Promise<number | undefined>>();
  let until = 0;
  return agentType => {
    if (performance.now() >= until) {
      counted.clear();
      until = performance.now() + COUNTED_EVERY_MS;
    }
    const known = counted.get(agentType);
    if (known !== undefined) return known;
    const count = routableMembers(store, agentType).then(
      ({workerIds}) => workerIds.length,
      // Whoever can not count sends all the same.
      () => undefined,
    );
    counted.set(agentType, count);
    // What goes out within the second goes to somebody, as a rule: where nobody was, they are counted again.
    void count.then(workers => {
      if (!workers) counted.delete(agentType);
    });
    return count;
  };
}

async function wasSent({workspace: {store}}: OrchestratorDeps, {task, attempt}: Begun): Promise<boolean> {
  const record = await findExecution(store, task.sessionId, attempt.executionId);
  return record !== undefined && record.routeStatus !== 'REJECT';
}
