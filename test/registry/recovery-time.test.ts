import {describe, expect, test} from 'vitest';
import {MAX_RECOVERY_MS, MIN_RECOVERY_MS} from '../../src/registry/agent-status.js';
import {parseRecoveryAt} from '../../src/registry/recovery-time.js';

const NOW = Date.parse('2026-11-21T12:00:00Z');
const after = (ms: number, source: string, clamped = false) => ({recoveryAt: NOW + ms, source, clamped});

describe('parseRecoveryAt', () => {
  test('nothing said is null', () => {
    expect(parseRecoveryAt({}, NOW)).toBeNull();
    expect(parseRecoveryAt({'content-type': 'text/html', 'retry-after': null}, NOW)).toBeNull();
  });

  test('milliseconds come before Retry-After, and that before resets', () => {
    const headers = {
      'Retry-After-Ms': '1500',
      'Retry-After': '7',
      'x-ratelimit-reset-tokens': '6m0s',
    };
    expect(parseRecoveryAt(headers, NOW)).toEqual(after(1500, 'retry-after-ms'));
    const {'Retry-After-Ms': _ms, ...rest} = headers;
    expect(parseRecoveryAt(rest, NOW)).toEqual(after(7000, 'retry-after'));
    expect(parseRecoveryAt({'x-ratelimit-reset-tokens': '6m0s'}, NOW)).toEqual(
      after(360_000, 'x-ratelimit-reset-tokens'),
    );
  });

  test('Retry-After may be a date', () => {
    expect(parseRecoveryAt({'retry-after': 'Sat, 21 Nov 2026 12:02:00 GMT'}, NOW)).toEqual(
      after(120_000, 'retry-after'),
    );
  });

  test.each(['-5', 'soon', '', '1e3', '0x10', 'Sat, 21 Nov 2026 11:59:59 GMT', '12 apples'])(
    'a Retry-After of "%s" leaves it to the next header',
    value => {
      expect(
        parseRecoveryAt({'retry-after-ms': '-1', 'retry-after': value, 'ratelimit-reset': '30'}, NOW),
      ).toEqual(after(30_000, 'ratelimit-reset'));
    },
  );

  test('a reset may be a time, in any zone', () => {
    const reset = {'anthropic-ratelimit-tokens-reset': '2026-11-21T14:30:00+02:00'};
    expect(parseRecoveryAt(reset, NOW)).toEqual(after(1_800_000, 'anthropic-ratelimit-tokens-reset'));
    const past = {'anthropic-ratelimit-tokens-reset': '2026-11-21T11:59:59Z'};
    expect(parseRecoveryAt(past, NOW)).toBeNull();
  });

  test.each([
    ['6m0s', 360_000],
    ['1h2m3.5s', 3_723_500],
    ['1d', 86_400_000],
    ['1500ms', 1500],
    ['2000000us', 2000],
    ['3000000000ns', 3000],
    ['45', 45_000],
    ['45.5', 45_500],
    [String(NOW / 1000 + 90), 90_000],
  ])('a reset of %s', (value, ms) => {
    expect(parseRecoveryAt({'x-ratelimit-reset-requests': value}, NOW)).toEqual(
      after(ms, 'x-ratelimit-reset-requests'),
    );
  });

  test.each(['6 m', '-6m', '6x', 'm', 'tomorrow'])('a reset of "%s" says nothing', value => {
    expect(parseRecoveryAt({'x-ratelimit-reset-requests': value}, NOW)).toBeNull();
  });

  test('of several resets that of what is used up counts, else the last', () => {
    const resets = {'x-ratelimit-reset-requests': '2s', 'x-ratelimit-reset-tokens': '6m0s'};
    expect(parseRecoveryAt(resets, NOW)).toEqual(after(360_000, 'x-ratelimit-reset-tokens'));
    const left = {'x-ratelimit-remaining-requests': '0', 'x-ratelimit-remaining-tokens': '900'};
    expect(parseRecoveryAt({...resets, ...left}, NOW)).toEqual(after(2000, 'x-ratelimit-reset-requests'));
  });

  test('what is too short or too long is not believed so far', () => {
    expect(parseRecoveryAt({'retry-after': '0'}, NOW)).toEqual(after(MIN_RECOVERY_MS, 'retry-after', true));
    expect(parseRecoveryAt({'retry-after': '604801'}, NOW)).toEqual(
      after(MAX_RECOVERY_MS, 'retry-after', true),
    );
    expect(parseRecoveryAt({'retry-after': '604800'}, NOW)).toEqual(after(MAX_RECOVERY_MS, 'retry-after'));
    expect(parseRecoveryAt({'retry-after': '1'}, NOW)).toEqual(after(MIN_RECOVERY_MS, 'retry-after'));
  });

  test('headers may be those of fetch, and values lists or numbers', () => {
    expect(parseRecoveryAt(new Headers({'Retry-After': '3'}), NOW)).toEqual(after(3000, 'retry-after'));
    expect(parseRecoveryAt({'RETRY-AFTER': ['3', '9']}, NOW)).toEqual(after(3000, 'retry-after'));
    expect(parseRecoveryAt({'retry-after': 3}, NOW)).toEqual(after(3000, 'retry-after'));
  });
});
