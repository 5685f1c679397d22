/** `--session ID` or `--last`: which session a command is about. */
import {ByError} from '../errors.js';
import {listSessions} from '../registry/sessions.js';
import {requireOwn} from '../store/ownership.js';
import type {Store} from '../store/store.js';
import {checkedId} from './ids.js';

export interface SessionChoice {
  readonly session: string | undefined;
  readonly last: boolean;
  /** Whose it must be; undefined for an operator. */
  readonly userCode?: string | undefined;
}

/** Keys `--last` looks at on each server, roughly. */
export const LOOK_AT_KEYS = 100_000;

/**
 * @returns undefined if neither flag was given.
 * @throws {ByError} INVALID_INPUT; NOT_FOUND for `--last` where there is no session.
 */
export async function chosenSession(store: Store, choice: SessionChoice): Promise<string | undefined> {
  if (choice.session !== undefined) return checkedId(choice.session, 'session id');
  if (!choice.last) return undefined;
  const {sessions} = await listSessions(store, {limit: 1, look: LOOK_AT_KEYS});
  const [newest] = sessions;
  if (newest !== undefined) return newest.sessionId;
  throw new ByError('NOT_FOUND', 'There is no session here.', {hint: 'Start one with `by send`.'});
}

/** @throws {ByError} USAGE if neither flag was given, and what {@link chosenSession} throws. */
export async function requireSession(store: Store, choice: SessionChoice): Promise<string> {
  const sessionId = await chosenSession(store, choice);
  if (sessionId !== undefined) {
    await requireOwn(store, sessionId, choice.userCode ?? '');
    return sessionId;
  }
  throw new ByError('USAGE', 'Which session?', {
    hint: 'Name it with --session, or say --last for the one heard of last.',
    next: ['by session list'],
  });
}
