import {expect} from 'vitest';

/**
 * The decision of a wakeup that was answered READY: NONE when the sender saw the worker itself, a moment before it heard
 * the manager. Both end the wait (await-wakeup.ts), and which is first is open.
 */
export const readyOrNone = expect.stringMatching(/^(READY|NONE)$/) as unknown;
