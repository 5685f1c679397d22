import {describe, expect, test} from 'vitest';
import {resolveHistory} from '../../src/config/history.js';
import type {ByError} from '../../src/errors.js';

const DSN = 'postgres://u:secret-word@db:5432/h';

describe('where history is kept', () => {
  test.each([
    [{}, undefined, {backend: 'memory', source: 'default'}],
    [{BY_HISTORY: 'off'}, {backend: 'redis'}, {backend: 'off', source: 'BY_HISTORY'}],
    [{BY_HISTORY: 'redis', BYAI_HISTORY_PG_DSN: DSN}, undefined, {backend: 'redis', source: 'BY_HISTORY'}],
    [{BYAI_HISTORY_PG_DSN: DSN}, {backend: 'redis'}, {backend: 'postgres', url: DSN}],
    [
      {BY_HISTORY_URL: DSN, BYAI_HISTORY_PG_DSN: 'x'},
      undefined,
      {backend: 'postgres', url: DSN, source: 'BY_HISTORY_URL'},
    ],
    [
      {BY_HISTORY: 'postgres'},
      {backend: 'memory', url: DSN},
      {backend: 'postgres', url: DSN, source: 'by.config'},
    ],
    [{}, {backend: 'redis'}, {backend: 'redis', source: 'by.config'}],
    [{}, {backend: 'postgres', url: DSN}, {backend: 'postgres', url: DSN, source: 'by.config'}],
    [
      {BYAI_HISTORY_PG_DSN: 'postgresql+asyncpg://db/h'},
      undefined,
      {backend: 'postgres', url: 'postgres://db/h', source: 'BYAI_HISTORY_PG_DSN'},
    ],
    [{BY_HISTORY: '', BY_HISTORY_URL: ''}, undefined, {backend: 'memory'}],
  ] as const)('%o and %o', (env, config, expected) => {
    expect(resolveHistory(env, config)).toMatchObject(expected);
  });

  test.each([
    [{BY_HISTORY: 'mysql'}, undefined],
    [{BY_HISTORY: 'postgres'}, undefined],
    [{}, {backend: 'postgres'}],
    [{}, {backend: 'redis', url: 'redis://x'}],
    [{BY_HISTORY_URL: 'mysql://u:secret-word@db/h'}, undefined],
    [{BY_HISTORY_URL: 'secret-word'}, undefined],
  ] as const)('refuses %o and %o, and repeats no address', (env, config) => {
    let error: unknown;
    try {
      resolveHistory(env, config);
    } catch (caught) {
      error = caught;
    }
    expect(error).toMatchObject({code: 'INVALID_CONFIG'});
    expect((error as ByError).message + (error as ByError).hint).not.toContain('secret-word');
  });
});
