/**
 * Timers of durable executions: one sorted set, by when each goes off by Redis's clock. A timer that goes off is a RESUME
 * to the execution's agent type, like any answer; whoever looks first sends it, and a second one is recognised.
 */
import {isValidId, newMessageId} from '../ids.js';
import {encodeSendable, type ResumeCommand} from '../protocol/commands.js';
import type {ExecutionRecord} from '../protocol/execution.js';
import {createHeader} from '../protocol/header.js';
import {SESSION_TTL_S} from '../protocol/keys.js';
import {isTerminal} from '../protocol/states.js';
import {findExecution} from './executions.js';
import {defineScript, texts} from './script.js';
import type {Store} from './store.js';

const RETRY = {retryForMs: 30_000};
/** Timers sent in one sweep. */
const BATCH = 100;
/** A timer whose sender died is looked at again after this long. */
const AGAIN_MS = 5000;

/** In place of a timer's id: the execution waits, and what is known of it must not expire. */
const KEEP = 'keep';
/** How often it is renewed, in milliseconds: twice before it would be gone. */
export const KEEP_EVERY_MS = (SESSION_TTL_S * 1000) / 3;

interface Waiting {
  readonly sessionId: string;
  readonly executionId: string;
}

/** Set a timer. Setting it again changes nothing, if `at` is the same. @param at Unix milliseconds by Redis's clock. */
export async function setTimer(
  store: Store,
  {sessionId, executionId}: Waiting,
  timerId: string,
  at: number,
): Promise<void> {
  const member = `${sessionId}/${executionId}/${timerId}`;
  await store.commands.run(redis => redis.zadd(store.keys.timers(), 'NX', at, member), RETRY);
}

/** The timer of an execution that waits, for nobody knows how long: it is kept until it has ended. */
export const keepMember = ({sessionId, executionId}: Waiting): string =>
  `${sessionId}/${executionId}/${KEEP}`;

/** An execution is about to wait. @param at when it is to be renewed first, in Unix milliseconds. */
export const keepWaiting = (store: Store, waiting: Waiting, at: number): Promise<void> =>
  setTimer(store, waiting, KEEP, at);

const dueScript = defineScript({
  file: 'due-deadlines.lua',
  keys: ['deadlines'],
  args: ['againMs', 'count'],
  reply: texts,
});

/** Send what is due. One command when there is nothing; safe beside others who sweep. @returns how many were sent. */
export async function sweepTimers(store: Store): Promise<number> {
  const timers = store.keys.timers();
  const [now = '0', ...members] = await dueScript(
    store.commands,
    {keys: {deadlines: timers}, args: {againMs: AGAIN_MS, count: BATCH}},
    RETRY,
  );
  let sent = 0;
  for (const member of members) {
    const [sessionId = '', executionId = '', timerId = ''] = member.split('/');
    // Somebody else wrote what is not made of ids.
    const isOurs = [sessionId, executionId, timerId].every(isValidId);
    const record = isOurs ? await findExecution(store, sessionId, executionId) : undefined;
    const isWaiting = record !== undefined && !isTerminal(record.status);
    if (isWaiting && timerId === KEEP) {
      await renew(store, record, Number(now));
      continue;
    }
    if (isWaiting) {
      const stream = store.keys.ctrlStream(record.targetAgentType);
      const document = encodeSendable(timerResume(record, timerId));
      await store.commands.run(redis => redis.xadd(stream, '*', 'data', document), RETRY);
      sent++;
    }
    await store.commands.run(redis => redis.zrem(timers, member), RETRY);
  }
  return sent;
}

async function renew({keys, commands}: Store, record: ExecutionRecord, now: number): Promise<void> {
  const {sessionId, executionId} = record;
  await commands.run(
    redis =>
      Promise.all([
        redis.expire(keys.sessionRegistry(sessionId), SESSION_TTL_S),
        redis.expire(keys.journal(sessionId, executionId), SESSION_TTL_S),
      ]),
    RETRY,
  );
  const member = keepMember({sessionId, executionId});
  await commands.run(redis => redis.zadd(keys.timers(), now + KEEP_EVERY_MS, member), RETRY);
}

function timerResume(record: ExecutionRecord, timerId: string): ResumeCommand {
  return {
    action: 'RESUME',
    header: createHeader({
      messageId: record.messageId || newMessageId(),
      sessionId: record.sessionId,
      traceId: record.traceId,
      // Nobody replies to a timer, but it is no person either: see claim.lua on reopening.
      sourceAgentType: record.targetAgentType,
      targetAgentType: record.targetAgentType,
      parentMessageId: timerId,
      metadata: {by_timer: timerId},
    }),
    content: '',
    status: 'COMPLETED',
    replyData: null,
    extraPayload: {},
  };
}
