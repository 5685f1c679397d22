/**
 * Limits on what a user sends: so many accepted commands in a window. On a single server accept.lua counts in the step
 * that accepts; in a Cluster a command is counted before, and a sender that dies in between has used one up for nothing:
 * more than the limit is never accepted.
 */
import {defineScript, texts} from './script.js';
import type {Store} from './store.js';

const countScript = defineScript({
  file: 'count-quota.lua',
  before: ['quota-window.lua'],
  keys: ['limit', 'quota'],
  args: ['back'],
  reply: texts,
});

/** A command that was counted, in the window that ends then. */
export interface Counted {
  readonly kind: 'counted';
  readonly windowEnd: string;
}

/** @returns undefined if the user has no limit. */
export async function countForUser(
  store: Store,
  userCode: string,
): Promise<
  Counted | {readonly kind: 'over'; readonly retryAfterMs: number; readonly reason: string} | undefined
> {
  const [verdict, first = '', reason = ''] = await count(store, userCode, '');
  if (verdict === 'counted') return {kind: 'counted', windowEnd: first};
  return verdict === 'over' ? {kind: 'over', retryAfterMs: Number(first), reason} : undefined;
}

/** For a command that was not accepted after all. */
export async function takeBackCount(store: Store, userCode: string, {windowEnd}: Counted): Promise<void> {
  await count(store, userCode, windowEnd);
}

const count = (store: Store, userCode: string, back: string): Promise<string[]> =>
  countScript(store.commands, {keys: keysOf(store, userCode), args: {back}}, {retryForMs: 5000});

const keysOf = ({keys}: Store, userCode: string) => ({
  limit: keys.quotaLimit(userCode),
  quota: keys.userQuota(userCode),
});
