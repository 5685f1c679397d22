/**
 * Whose a session is: the user's on whose behalf it was used first (accept.lua, claim.lua). Whoever names no user is an
 * operator and sees all; a session nobody named a user for is the operators' alone.
 */
import {ByError} from '../errors.js';
import {OWNER_FIELD} from '../protocol/execution.js';
import type {Store} from './store.js';

/** @returns the user a session belongs to; '' for a session of the operators, or none. */
export async function sessionUser(store: Store, sessionId: string): Promise<string> {
  const registry = store.keys.sessionRegistry(sessionId);
  return (await store.commands.run(redis => redis.hget(registry, OWNER_FIELD), {retryForMs: 5000})) ?? '';
}

/** Whether a session may be read, cancelled or continued by this user; '' is an operator. */
export async function maySee(store: Store, sessionId: string, userCode: string): Promise<boolean> {
  return userCode === '' || (await sessionUser(store, sessionId)) === userCode;
}

/** @throws {ByError} NOT_FOUND, the same whether the session is another user's or there is none. */
export async function requireOwn(store: Store, sessionId: string, userCode: string): Promise<void> {
  if (!(await maySee(store, sessionId, userCode))) throw notTheirs(sessionId, userCode);
}

export const notTheirs = (sessionId: string, userCode: string): ByError =>
  new ByError('NOT_FOUND', `User "${userCode}" has no session "${sessionId}".`, {
    hint: 'Check the id; a session belongs to the user it was first used for. Leave the user out to act as operator.',
  });
