/** How much may wait: a send over the limit is refused before anything of it is written (G12). */
import {ByError} from '../errors.js';
import {isValidId} from '../ids.js';
import {decodeRecord, execField} from '../protocol/execution.js';
import {SESSION_TTL_S} from '../protocol/keys.js';
import {isTerminal} from '../protocol/states.js';
import type {Store} from './store.js';

const RETRY = {retryForMs: 5000};
/** Members of a full set that are looked at in one go. */
const SAMPLE = 256;

export const userMember = (command: {readonly sessionId: string; readonly executionId: string}): string =>
  `${command.sessionId}/${command.executionId}`;

/**
 * Take some of a user's commands that have ended out of the user's set. Workers of other SDKs do not do it, so nobody
 * does it but a sender that finds the set full.
 * @returns whether there is room now.
 */
export async function forgetEnded(store: Store, userCode: string): Promise<boolean> {
  const {keys} = store;
  const open = keys.userOpen(userCode);
  const members = await store.commands.run(redis => redis.srandmember(open, SAMPLE), RETRY);
  const hasEnded = await store.commands.run(
    redis =>
      Promise.all(
        members.map(async member => {
          const [sessionId = '', executionId = ''] = member.split('/');
          if (!isValidId(sessionId) || !isValidId(executionId)) return true;
          const text = await redis.hget(keys.sessionRegistry(sessionId), execField(executionId));
          const record = text === null ? undefined : decodeRecord(text);
          return record === undefined || isTerminal(record.status);
        }),
      ),
    RETRY,
  );
  const ended = members.filter((_, i) => hasEnded[i]);
  if (ended.length > 0) await store.commands.run(redis => redis.srem(open, ...ended), RETRY);
  return ended.length > 0;
}

/** In a Cluster: what accept.lua looks at, over several slots; sends at the same moment may pass the limit together. */
export async function findFull(
  store: Store,
  command: {
    readonly agentType: string;
    readonly userCode: string;
    readonly sessionId: string;
    readonly executionId: string;
    readonly streams: readonly string[];
  },
): Promise<'type' | 'user' | undefined> {
  const {perAgentType, perUser} = store.limits;
  const open = store.keys.userOpen(command.userCode);
  const countsUser = perUser > 0 && command.userCode !== '';
  const [depths, unfinished] = await store.commands.run(
    redis =>
      Promise.all([
        Promise.all([
          ...command.streams.map(stream => redis.xlen(stream)),
          redis.zcard(store.keys.pendingQueue(command.agentType)),
        ]),
        countsUser ? redis.scard(open) : 0,
      ]),
    RETRY,
  );
  if (perAgentType > 0 && depths.some(depth => depth >= perAgentType)) return 'type';
  if (!countsUser) return undefined;
  if (unfinished >= perUser) return 'user';
  await store.commands.run(
    redis => Promise.all([redis.sadd(open, userMember(command)), redis.expire(open, SESSION_TTL_S)]),
    RETRY,
  );
  return undefined;
}

/** Nothing was changed: whatever was to become a dead letter is where it was. */
export const deadLettersFull = (store: Store): ByError =>
  new ByError('DEAD_LETTERS_FULL', `There are ${store.limits.deadLetters} dead letters already.`, {
    hint: 'Replay or drop some, or raise BY_DEADLETTER_LIMIT for all processes; what failed waits meanwhile.',
    next: ['by deadletter list --group-by code'],
    details: {limit: store.limits.deadLetters},
  });

export function queueFull(
  store: Store,
  scope: 'type' | 'user',
  agentType: string,
  userCode: string,
): ByError {
  const {perAgentType, perUser} = store.limits;
  return scope === 'type'
    ? new ByError('QUEUE_FULL', `${perAgentType} commands wait for "${agentType}" already.`, {
        hint: 'Nothing was accepted. Start more workers, or try again later.',
        details: {agentType, limit: perAgentType},
      })
    : new ByError('QUEUE_FULL', `User "${userCode}" has ${perUser} unfinished commands already.`, {
        hint: 'Nothing was accepted. Wait until some have ended, or cancel some.',
        details: {userCode, limit: perUser},
      });
}
