/** `by schedule` as an operator meets it. Needs the build. */
import {mkdtempSync, rmSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {afterAll, beforeAll, describe, expect, test, vi} from 'vitest';
import {startRedisServer, type RedisServer} from '../support/redis-server.js';
import {ESCAPES, jsonOf, runBy} from './run-by.js';

vi.setConfig({testTimeout: 180_000});

let server: RedisServer;
let dir = '';
beforeAll(async () => {
  server = await startRedisServer();
  dir = mkdtempSync(join(tmpdir(), 'by-schedule-'));
  writeFileSync(join(dir, 'policy.json'), '{"ask": "off", "retry": {"max_attempts": 3}}');
  writeFileSync(join(dir, 'no-policy.json'), '{"network": "off"}');
  writeFileSync(join(dir, 'wild-policy.json'), '{"resources": {"gpu_count": 99}}');
  writeFileSync(join(dir, 'prompt.md'), 'Write the report.\n');
});
afterAll(async () => {
  await server.stop();
  rmSync(dir, {recursive: true});
});
const by = (...args: readonly string[]) =>
  runBy(['schedule', ...args], {env: {BY_REDIS_URL: server.url}, cwd: dir});
const {data, failure} = jsonOf(by);

test('next: the sample of the design, word for word, and without any server', async () => {
  const args = [
    'next',
    '--cron',
    '30 2 * * *',
    '--tz',
    'America/New_York',
    '--from',
    '2026-03-07T00:00:00Z',
    '-n',
    '3',
  ];
  const explained = await runBy(['schedule', ...args, '--explain'], {
    env: {BY_REDIS_URL: 'redis://127.0.0.1:1'},
  });
  expect(explained).toMatchObject({code: 0, stderr: ''});
  expect(explained.stdout).toBe(`\
2026-03-07 02:30 EST  07:30:00Z
2026-03-08 03:00 EDT  07:00:00Z  gap: 02:30 does not exist, fires at the end of the gap
2026-03-09 02:30 EDT  06:30:00Z
`);
  expect((await by(...args)).stdout).not.toContain('gap');
  expect(await data(...args)).toMatchObject({
    ticks: [
      {
        at: Date.UTC(2026, 2, 7, 7, 30),
        at_iso: '2026-03-07T07:30:00.000Z',
        local: '2026-03-07 02:30 EST',
        note: null,
      },
      {note: 'gap'},
      {note: null},
    ],
  });
  const sydney = await by(
    'next',
    '--cron',
    '0 9 * * *',
    '--tz',
    'Australia/Sydney',
    '--from',
    '2026-01-01',
    '-n',
    '1',
  );
  expect(sydney.stdout).toBe('2026-01-02 09:00 GMT+11  2026-01-01 22:00:00Z\n');
});

test('create refuses six fields: the other sample', async () => {
  const ran = await by(
    'create',
    'x',
    '--cron',
    '0 0 9 * * *',
    '--tz',
    'Europe/Berlin',
    '--agent',
    'writer',
    '--prompt',
    'hi',
  );
  expect(ran).toMatchObject({code: 2, stdout: ''});
  expect(ran.stderr).toBe(`\
✗ CRON_INVALID  6 fields; a schedule has 5 (minute hour day month weekday).
  Did you mean "0 9 * * *"?
`);
});

describe('the life of a schedule', () => {
  test('create, list, show, update, pause, resume, delete', async () => {
    const create = [
      'create',
      'nightly-report',
      '--cron',
      '30 2 * * *',
      '--tz',
      'America/New_York',
      '--agent',
      'writer',
    ];
    const prompt = [
      '--prompt',
      '@prompt.md',
      '--policy',
      '@policy.json',
      '--priority',
      'high',
      '--skill',
      'a',
      '--skill',
      'b',
    ];
    const dry = await by(...create, ...prompt, '--dry-run');
    // On the day the clocks are put forward there is no 02:30.
    expect(dry.stdout).toMatch(
      /^nightly-report {3}would be created; its first ticks:\n(?: {2}\d{4}-\d\d-\d\d (?:02:30 E[SD]T|03:00 EDT) {2}.*\n){3}$/,
    );
    expect((await by('list')).stderr).toContain('no schedules');
    expect((await by(...create, ...prompt)).stdout).toMatch(
      /^nightly-report {3}created \(sch_\w{26}\), next .*\)\n$/,
    );
    expect((await by(...create, ...prompt)).stdout).toMatch(/^nightly-report {3}is there already \(sch_/);
    expect((await by('list')).stdout).toMatch(
      /^nightly-report {3}active {2}30 2 \* \* \* {2}America\/New_York {2}next .* {2}last - {2}missed 0 {2}overlap skip\n$/,
    );
    expect(await data('show', 'nightly-report')).toMatchObject({
      schedule: {
        ...{
          external_id: 'nightly-report',
          cron_expr: '30 2 * * *',
          agent_type: 'writer',
          prompt: 'Write the report.\n',
        },
        ...{
          skill_paths: ['a', 'b'],
          task_defaults: {priority: 'high', policy: {ask: 'off', retry: {max_attempts: 3}}},
          state: 'active',
          version: 1,
        },
      },
      ticks: [],
    });
    const updated = await by('update', 'nightly-report', '--cron', '0 4 * * *', '--tz', 'UTC');
    expect(updated.stdout).toMatch(
      /^nightly-report {3}updated \(version 2\): cron, tz changed, next (?:\S+ )?04:00:00Z\n$/,
    );
    expect(await failure('update', 'nightly-report', '--agent', 'x', '--if-version', '1')).toMatchObject({
      code: 'VERSION_CONFLICT',
      exit: 11,
    });
    expect(
      (await by('next', 'nightly-report', '-n', '2')).stdout.match(/04:00 UTC {2}04:00:00Z/g),
    ).toHaveLength(2);
    expect((await by('pause', 'nightly-report', '--note', 'freeze until release')).stdout).toBe(
      'nightly-report   paused: "freeze until release"\n',
    );
    expect((await by('list', '--paused', '-o', 'name')).stdout).toBe('nightly-report\n');
    expect((await by('next', 'nightly-report')).stderr).toContain('It is paused');
    expect((await by('resume', 'nightly-report')).stdout).toMatch(
      /^nightly-report {3}resumed, next .*04:00:00Z/,
    );
    expect(await failure('delete', 'nightly-report')).toMatchObject({code: 'INPUT_NEEDED', exit: 2});
    expect((await by('delete', 'nightly-report', '--yes')).stdout).toBe(
      'nightly-report   deleted; 0 past tasks kept\n',
    );
    expect(await data('delete', 'nightly-report', '--yes')).toEqual({deleted: false, schedule: null});
  });

  test('workspaces keep their schedules apart', async () => {
    await by('create', 'a', '--cron', '* * * * *', '--agent', 'w', '--prompt', 'x', '--workspace', 'one');
    expect((await by('list', '-o', 'name', '--workspace', 'one')).stdout).toBe('a\n');
    expect((await by('list', '-o', 'name')).stdout).toBe('');
    const named = await runBy(['schedule', 'list', '-o', 'name'], {
      env: {BY_REDIS_URL: server.url, BY_WORKSPACE: 'one'},
    });
    expect(named.stdout).toBe('a\n');
  });

  test('what somebody else wrote can not drive the terminal', async () => {
    const evil = 'a\u001b]52;c;ZXZpbA==\u0007b\u009bc';
    await by('create', 'evil', '--cron', '* * * * *', '--agent', 'w', '--prompt', evil);
    await by('pause', 'evil', '--note', evil);
    for (const args of [['list'], ['show', 'evil'], ['next', 'evil']])
      expect((await by(...args)).stdout).not.toMatch(ESCAPES);
  });
});

test.each([
  ['no zone', ['create', 'x', '--tz', 'berlin'], 2, 'TIMEZONE_INVALID'],
  ['30 February', ['create', 'x', '--cron', '0 0 30 2 *'], 2, 'CRON_NEVER_FIRES'],
  ['a name with blanks', ['create', 'a b'], 2, 'INVALID_INPUT'],
  ['a file that is not there', ['create', 'x', '--prompt', '@none'], 2, 'INVALID_INPUT'],
  ['a policy that is no file', ['create', 'x', '--policy', '{}'], 2, 'USAGE'],
  ['a policy that is not JSON', ['create', 'x', '--policy', '@prompt.md'], 2, 'INVALID_INPUT'],
  ['a policy with an unknown field', ['create', 'x', '--policy', '@no-policy.json'], 2, 'POLICY_INVALID'],
  ['a policy out of bounds', ['create', 'x', '--policy', '@wild-policy.json'], 2, 'POLICY_INVALID'],
  ['a moment of no zone', ['create', 'x', '--starts', '2026-01-01T00:00'], 2, 'INVALID_INPUT'],
  ['no moment', ['create', 'x', '--ends', 'tomorrow'], 2, 'INVALID_INPUT'],
  ['no runs', ['create', 'x', '--max-runs', '0'], 2, 'INVALID_INPUT'],
  ['an unknown policy', ['create', 'x', '--missed', 'some'], 2, 'USAGE'],
])('create: %s is refused', async (_case, args, exit, code) => {
  const all = ['--cron', '0 9 * * *', '--agent', 'w', '--prompt', 'x'];
  const missing = all.filter((_, at) => !args.includes(all[at - (at % 2)] ?? ''));
  expect(await failure(...args, ...missing)).toMatchObject({code, exit});
});

test.each([
  ['neither a schedule nor an expression', ['next'], 2, 'USAGE'],
  ['both', ['next', 'x', '--cron', '* * * * *'], 2, 'USAGE'],
  ['a schedule that is not there', ['show', 'nope'], 4, 'SCHEDULE_NOT_FOUND'],
  ['nothing to change', ['update', 'evil'], 2, 'USAGE'],
  ['a workspace that is none', ['list', '--workspace', 'A b'], 2, 'INVALID_INPUT'],
  ['a time that has not come', ['backfill', 'evil', '--from', '2126-01-01'], 2, 'INVALID_INPUT'],
])('%s is refused', async (_case, args, exit, code) => {
  await by('create', 'evil', '--cron', '* * * * *', '--agent', 'w', '--prompt', 'x');
  expect(await failure(...args)).toMatchObject({code, exit});
});
