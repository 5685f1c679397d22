import {expect, test} from 'vitest';
import {Bell} from '../../src/orchestration/bell.js';

const LONG = 3_600_000;
const never = new AbortController().signal;

test('who waits goes on when it rings', async () => {
  const bell = new Bell();
  const waiting = bell.wait(LONG, never);
  bell.ring();
  expect(await waiting).toBe(true);
});

test('a ring that nobody waited for is not lost, and counts once', async () => {
  const bell = new Bell();
  bell.ring();
  bell.ring();
  expect(await bell.wait(LONG, never)).toBe(true);
  expect(await bell.wait(0, never)).toBe(false);
});

test('who stops does not wait', async () => {
  expect(await new Bell().wait(LONG, AbortSignal.abort())).toBe(false);
});
