/** The commands as a user types them, against a real server and the embedded one. Needs the build. */
import {mkdtemp, rm, writeFile} from 'node:fs/promises';
import {tmpdir} from 'node:os';
import {join, resolve} from 'node:path';
import {afterAll, afterEach, beforeAll, describe, expect, test} from 'vitest';
import {startEmbeddedStore} from '../../src/dev/embedded/start.js';
import {silentLogger} from '../../src/log.js';
import {openStore} from '../../src/store/store.js';
import {defineAgent} from '../../src/worker/agent.js';
import {startWorker, type WorkerHandle} from '../../src/worker/runner.js';
import {brokenRules} from '../support/keyspace.js';
import {startOldRedis} from '../support/old-redis.js';
import {startRedisServer} from '../support/redis-server.js';
import {until} from '../support/stores.js';
import {readyOrNone} from '../support/wakeups.js';
import {runBy, startBy} from './run-by.js';

const servers = [
  ['redis-server', async () => startRedisServer()],
  ['embedded', async () => startEmbeddedStore().then(store => ({url: store.url, stop: () => store.close()}))],
] as const;

const agents = [
  defineAgent({
    type: 'shouter',
    async run(ctx, ask) {
      await ctx.emitState('reading');
      for (const word of ask.text.split(' ')) await ctx.emitChunk(`${word.toUpperCase()} `);
      return {content: ask.text.toUpperCase()};
    },
  }),
  defineAgent({
    type: 'thrower',
    run: (ctx, ask) => {
      if (ctx.metadata['replay_count'] === undefined) throw new Error(`no luck with ${ask.text}`);
      return {content: 'second time lucky'};
    },
  }),
  defineAgent({type: 'evil', run: () => ({content: 'a\u001b]52;c;ZXZpbA==\u0007b\u009bc\u202ed'})}),
  defineAgent({
    type: 'asker',
    async run(ctx) {
      const where = await ctx.askUser({
        prompt: 'Where?',
        choices: ['here', 'there'],
        deadlineMs: 600_000,
        default: 'here',
      });
      return {content: `${String(where)} ${String(await ctx.askUser('Why?'))}`};
    },
  }),
  defineAgent({
    type: 'boss',
    run: async ctx => ({content: `boss: ${String(await ctx.call('asker', 'go'))}`}),
  }),
  defineAgent({
    type: 'sleeper',
    run: ctx =>
      new Promise((_, reject) => ctx.signal.addEventListener('abort', () => reject(new Error('woken')))),
  }),
];

describe.each(servers)('by on %s', (_, start) => {
  let server: {url: string; stop: () => Promise<void>};
  let worker: WorkerHandle;
  const by = (args: readonly string[], input?: string) =>
    runBy(args, {env: {BY_REDIS_URL: server.url}, ...(input === undefined ? {} : {input})});

  beforeAll(async () => {
    server = await start();
    worker = await startWorker({url: server.url}, {agents, workerId: 'w-1', log: silentLogger});
  });
  afterAll(async () => {
    await worker.stop({drainMs: 0});
    const store = openStore({url: server.url});
    // One test puts a string where a control stream should be.
    expect(await brokenRules(store, new Set(['ctrlStream']))).toEqual([]);
    store.close();
    await server.stop();
  });

  test('send --wait ends with the question where nobody can answer, and by reply answers it', async () => {
    const asked = await by(['send', 'boss', 'x', '--wait', '--json']);
    expect(asked.code).toBe(9);
    const {error} = JSON.parse(asked.stdout) as {
      error: {next: string[]; details: {session_id: string; questions: Record<string, unknown>[]}};
    };
    const [question] = error.details.questions;
    expect(question).toMatchObject({
      ...{agent_type: 'asker', prompt: 'Where?', choices: ['here', 'there'], default: 'here'},
      due_at: expect.any(Number) as number,
    });
    const {session_id: session} = error.details;
    const listed = await by(['reply', session]);
    expect(listed.stdout).toMatch(
      /asker asks: Where\?\n {2}\[here\/there\] {2}\(answer within 9m\d+s, then: here\)/,
    );

    // The command that is named works as it is.
    expect(error.next[0]).toBe(
      `by reply ${String(question?.['execution_id'])} here --session ${session} --question ${String(question?.['question_id'])}`,
    );
    const wrong = await by(['reply', session, 'nowhere', '--json']);
    expect(wrong).toMatchObject({code: 2});
    expect(JSON.parse(wrong.stdout)).toMatchObject({error: {details: {choices: ['here', 'there']}}});
    const named = error.next[0]?.split(' ').slice(1) ?? [];
    expect(await by(named)).toMatchObject({code: 0, stdout: expect.stringContaining('answered') as string});
    expect(await by(named)).toMatchObject({
      code: 11,
      stderr: expect.stringContaining('ALREADY_ANSWERED') as string,
    });

    // An execution may be named without its session.
    await until(async () => (await by(['reply', session])).stdout.includes('Why?'));
    const why = await by(['reply', String(question?.['execution_id']), '-', '--json'], 'because\n');
    expect(JSON.parse(why.stdout)).toMatchObject({
      ok: true,
      data: {agent_type: 'asker', session_id: session, duplicate: false},
    });
    const shown = await until(async () => {
      const tail = await by(['tail', session]);
      return tail.stdout.includes('boss: here because') && tail.stdout;
    });
    expect(shown).toContain('Where?  [here/there]  (answer within 10m, then: here)');
    expect(await by(['reply', session, 'late'])).toMatchObject({code: 11});
  });

  test('send --answer answers the questions in order, and tail --answer too', async () => {
    const sent = await by(['send', 'asker', 'x', '--follow', '--answer', 'there', '--answer', 'why not']);
    expect(sent).toMatchObject({code: 0, stdout: 'there why not\n'});
    const wrong = await by(['send', 'asker', 'x', '--wait', '--answer', 'maybe']);
    expect(wrong).toMatchObject({code: 2, stderr: expect.stringContaining('by reply exec-') as string});
    expect(await by(['send', 'asker', 'x', '--answer', 'here'])).toMatchObject({code: 2});

    const asked = JSON.parse((await by(['send', 'asker', 'x', '--json'])).stdout) as {
      data: {session_id: string};
    };
    const tail = ['tail', asked.data.session_id, '-o', 'jsonl', '-f', '--until', 'terminal'];
    const followed = await by([...tail, '--answer', 'here', '--answer', 'so']);
    expect(followed.code).toBe(0);
    const events = followed.stdout
      .trim()
      .split('\n')
      .map(line => JSON.parse(line) as Record<string, unknown>);
    expect(events.find(({type}) => type === 'ask')).toMatchObject({
      question: {choices: ['here', 'there'], default: 'here', within_ms: 600_000},
    });
    expect(events.find(({type}) => type === 'final')).toMatchObject({text: 'here so'});
  });

  test('send --follow streams the answer to standard output, and nothing else there', async () => {
    const ran = await by(['send', 'shouter', 'hello big world', '--follow']);
    expect(ran).toMatchObject({code: 0, stdout: 'HELLO BIG WORLD \n'});
    expect(ran.stderr).toContain('COMPLETED');
  });

  test('send - reads standard input', async () => {
    const ran = await by(['send', 'shouter', '-', '--wait', '--json'], 'from a pipe');
    expect(ran.json()).toMatchObject({
      ok: true,
      schema: 'by.send/1',
      data: {
        status: 'DELIVER_NOW',
        target_agent_type: 'shouter',
        execution: {status: 'COMPLETED'},
        output: 'FROM A PIPE',
      },
    });
  });

  test('send -o jsonl is one event a line, and an end', async () => {
    const ran = await by(['send', 'shouter', 'a b', '--follow', '-o', 'jsonl']);
    const lines = ran.stdout
      .trim()
      .split('\n')
      .map(line => JSON.parse(line) as {type: string; text?: string});
    expect(lines.map(line => line.type)).toEqual(['state', 'answer', 'answer', 'final', 'end', 'end']);
    expect(lines[1]).toMatchObject({text: 'A ', agent_type: 'shouter'});
  });

  test('an agent that fails is exit 6, and its command can be replayed once', async () => {
    const failed = await by(['send', 'thrower', 'this', '--wait', '--json']);
    expect(failed.code).toBe(6);
    expect(failed.json()).toMatchObject({ok: false, error: {code: 'TASK_FAILED', exit: 6}});

    const listed = await by(['deadletter', 'list', '--agent', 'thrower', '--json']);
    const [entry] = (
      listed.json().data as unknown as {entries: {id: string; reason: string; replay: string}[]}
    ).entries;
    expect(entry).toMatchObject({code: 'EXECUTION_FAILED', replay: 'yes', reason: 'no luck with this'});
    const id = entry!.id;
    expect((await by(['dlq', 'show', id])).stdout).toContain('"content": "this"');

    const plan = await by(['deadletter', 'replay', id, '--dry-run', '--json']);
    expect(plan.json()).toMatchObject({data: {dry_run: true, counts: {matched: 1, replayed: 0}}});
    expect((await by(['deadletter', 'replay', id])).code).toBe(2);
    const replayed = await by(['deadletter', 'replay', id, '--yes', '--json', '--keep', '--reason', 'fixed']);
    expect(replayed.json()).toMatchObject({
      data: {counts: {replayed: 1}, items: [{result: 'replayed', replay_count: 1}]},
    });
    const again = await by(['deadletter', 'replay', id, '--yes', '--json']);
    expect(again).toMatchObject({code: 11});
    expect(again.json()).toMatchObject({error: {code: 'ALREADY_REPLAYED'}});

    const session = (failed.json().error as unknown as {details: {session_id: string}}).details.session_id;
    await until(async () =>
      (await by(['registry', 'executions', session, '--json'])).stdout.includes('"COMPLETED"'),
    );
  });

  test('dead letters are selected, changed, replayed, dropped and audited', async () => {
    const user = ['--user-code', 'u-dlq'] as const;
    for (const text of ['one', 'two', 'three']) await by(['send', 'thrower', text, ...user, '--wait', '-q']);
    const ids = (await by(['dlq', 'list', ...user, '-o', 'name'])).stdout.trim().split('\n').reverse();
    expect(ids).toHaveLength(3);
    const [one = '', two = '', three = ''] = ids;
    expect((await by(['dlq', 'list', ...user, '--reason', 'two$', '--json'])).json()).toMatchObject({
      data: {entries: [{id: two, user_code: 'u-dlq', code: 'EXECUTION_FAILED'}]},
    });
    expect((await by(['dlq', 'list', ...user, '--group-by', 'code', '--json'])).json()).toMatchObject({
      data: {groups: [{name: 'EXECUTION_FAILED', count: 3, replayable: 3}]},
    });

    const set = ['dlq', 'replay', one, '--set', 'body.content=uno', '--reason', 'INC-12'] as const;
    expect((await by([...set, '--dry-run', '--json'])).json()).toMatchObject({
      data: {items: [{changes: [{path: 'body.content', before: 'one', after: 'uno'}], route: 'deliver'}]},
    });
    expect((await by([...set, '--dry-run'])).stdout).toContain('body.content  "one" → "uno"');
    const done = await by([...set, '--yes', '--wait', '--json']);
    expect(done.code).toBe(0);
    expect((await by([...set, '--yes', '--json'])).json()).toMatchObject({
      error: {code: 'ALREADY_REPLAYED', exit: 11},
    });
    expect((await by(['dlq', 'show', one, '--json'])).json()).toMatchObject({
      data: {replay: 'replayed', audit: [{reason: 'INC-12', changed: ['body.content']}]},
    });
    expect((await by(['dlq', 'show', one])).stdout).toMatch(
      /replayed as exec-\w+ to thrower.+by .+@.+"INC-12"/,
    );

    const edit = ['dlq', 'replay', two, '--edit', '--yes', '--json'];
    expect((await by(edit)).json()).toMatchObject({error: {code: 'INPUT_NEEDED', exit: 2}});
    const editor = (script: string) => ({env: {BY_REDIS_URL: server.url, BY_EDITOR: `sed -i ${script}`}});
    expect((await runBy(edit, editor('1s/./[/'))).json()).toMatchObject({
      error: {code: 'INVALID_INPUT', exit: 2},
    });
    expect((await runBy(edit, editor('s/u-dlq/u-other/'))).json()).toMatchObject({
      error: {code: 'INVALID_INPUT', message: expect.stringContaining('header.user_code') as string},
    });
    expect((await runBy(edit, editor('s/two/due/'))).json()).toMatchObject({data: {counts: {replayed: 1}}});

    const lines = (await by(['dlq', 'replay', ...user, '--rate', '100/s', '--yes', '-o', 'jsonl'])).stdout
      .trim()
      .split('\n')
      .map(line => JSON.parse(line) as {type: string});
    expect(lines).toMatchObject([
      {type: 'item', id: three, result: 'replayed'},
      {type: 'end', reason: 'completed', counts: {replayed: 1}},
    ]);

    await by(['send', 'thrower', 'four', ...user, '--wait', '-q']);
    const drop = ['dlq', 'drop', ...user, '--json'] as const;
    expect((await by([...drop, '--yes'])).json()).toMatchObject({error: {code: 'USAGE'}});
    expect((await by([...drop, '--reason', 'test'])).json()).toMatchObject({error: {code: 'INPUT_NEEDED'}});
    expect((await by([...drop, '--reason', 'test', '--dry-run'])).json()).toMatchObject({
      data: {counts: {matched: 1, dropped: 0}},
    });
    expect((await by([...drop, '--reason', 'test', '--yes'])).json()).toMatchObject({
      data: {counts: {matched: 1, dropped: 1}},
    });
    expect((await by(['dlq', 'list', ...user, '--json'])).json()).toMatchObject({data: {entries: []}});
    expect((await by(['dlq', 'audit', '--limit', '4', '--json'])).json()).toMatchObject({
      data: {
        entries: [
          {action: 'drop', reason: 'test'},
          {entry: three},
          {entry: two},
          {entry: one, reason: 'INC-12'},
        ],
      },
    });
  });

  test('dead letters at their limit are said to be, and one without its command is named', async () => {
    const store = openStore({url: server.url});
    const document = '{"execution_id":"e-lost","target_agent_type":"lost","status":"FAILED","reason":"boom"}';
    const id =
      (await store.commands.run(redis => redis.xadd(store.keys.deadletter(), '*', 'data', document))) ?? '';
    const limited = {env: {BY_REDIS_URL: server.url, BY_DEADLETTER_LIMIT: '1'}};
    const listed = await runBy(['dlq', 'list', '--agent', 'lost', '--json'], limited);
    expect(listed.json()).toMatchObject({
      data: {entries: [{id, replay: 'no-payload'}], is_full: true, limit: 1},
      warnings: [expect.stringContaining('stays pending') as string],
    });
    const doctor = await runBy(['doctor', '--json'], limited);
    expect(doctor.stdout).toContain('what fails now stays pending');
    const replay = await by(['dlq', 'replay', id, '--policy', 'send-anyway', '--yes', '--json']);
    expect(replay.code).toBe(11);
    expect(replay.json()).toMatchObject({error: {code: 'PAYLOAD_LOST'}});
    expect((await by(['dlq', 'show', id])).stderr).toContain('PAYLOAD_LOST');
    expect((await by(['dlq', 'drop', id, '--reason', 'lost', '--yes'])).code).toBe(0);
    store.close();
  });

  test('what an agent says can not drive the terminal', async () => {
    const ran = await by(['send', 'evil', 'x', '--follow']);
    expect(ran.stdout + ran.stderr).not.toMatch(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e]/);
    const json = await by(['send', 'evil', 'x', '--wait', '--json']);
    expect(json.stdout).not.toMatch(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u202a-\u202e]/);
    expect((json.json().data as unknown as {output: string}).output).toBe(
      'a\u001b]52;c;ZXZpbA==\u0007b\u009bc\u202ed',
    );
  });

  test('tail shows a session from its beginning, and from any point', async () => {
    const sent = await by(['send', 'shouter', 'one two', '--wait', '--json']);
    const session = (sent.json().data as unknown as {session_id: string}).session_id;
    const plain = await by(['tail', session]);
    expect(
      plain.stdout.split('\n').map(line =>
        line
          .trim()
          .split(/\s{2,}/)
          .slice(1),
      ),
    ).toEqual([['state', 'reading'], ['answer', 'ONE TWO'], ['end'], []]);
    const jsonl = await by(['tail', session, '-o', 'jsonl', '-n', 'all']);
    const events = jsonl.stdout
      .trim()
      .split('\n')
      .map(line => JSON.parse(line) as {type: string; id: string});
    expect(events.map(event => event.type)).toEqual(['state', 'answer', 'answer', 'final', 'end', 'end']);
    const rest = await by(['tail', session, '-o', 'jsonl', '--from', events[2]!.id]);
    expect(
      rest.stdout
        .trim()
        .split('\n')
        .map(line => (JSON.parse(line) as {type: string}).type),
    ).toEqual(['final', 'end', 'end']);
    expect((await by(['tail', session, '-o', 'raw'])).stdout).toBe('ONE TWO ');
    expect((await by(['tail', session, '-n', '2'])).stdout.trim().split('\n')).toHaveLength(2);
  });

  test('cancel stops running work, and says so when it is too late', async () => {
    const sent = await by(['send', 'sleeper', 'x', '--json']);
    const {session_id: session, message_id: message} = sent.json().data as unknown as Record<string, string>;
    await until(() => worker.running > 0);
    const cancelled = await by(['cancel', session!, '--message', message!, '--json']);
    expect(cancelled.json()).toMatchObject({data: {status: 'CANCEL_REQUESTED', cancelled_count: 1}});
    await until(() => worker.running === 0);
    expect((await by(['cancel', session!, '--message', message!])).code).toBe(11);
    expect((await by(['cancel', 'sess-none'])).code).toBe(4);
  });

  test('worker list and show name the worker', async () => {
    expect((await by(['worker', 'list', '--json'])).json()).toMatchObject({
      data: {
        workers: [
          {
            worker_id: 'w-1',
            state: 'online',
            agent_types: ['asker', 'boss', 'evil', 'shouter', 'sleeper', 'thrower'],
          },
        ],
      },
    });
    expect((await by(['worker', 'list'])).stdout).toContain('w-1');
    expect((await by(['worker', 'show', 'w-1'])).stdout).toContain('shouter');
    expect((await by(['worker', 'show', 'w-9'])).code).toBe(4);
    expect((await by(['registry', 'agents', '-o', 'name'])).stdout.split('\n')).toContain('shouter');
    expect((await by(['registry', 'workers', '-o', 'name'])).stdout).toBe('w-1\n');
  });

  test('doctor passes, and says what is wrong', async () => {
    const ran = await by(['doctor', '--json']);
    expect(ran.code).toBe(0);
    expect(ran.json()).toMatchObject({ok: true, schema: 'by.doctor/1'});
  });

  test('provider mock starts a worker for a send that waits', async () => {
    const dir = await mkdtemp(join(tmpdir(), 'by-test-'));
    const source = resolve(import.meta.dirname, '../../dist/src/index.js');
    await writeFile(
      join(dir, 'agent.mjs'),
      `import {defineAgent} from ${JSON.stringify(source)};\nexport default defineAgent({type: 'asleep', run: () => 'awake'});\n`,
    );
    const bin = resolve(import.meta.dirname, '../../bin/by.js');
    const provider = startBy(
      ['provider', 'mock', '--spawn', `${process.execPath} ${bin} worker run ${join(dir, 'agent.mjs')}`],
      {
        env: {BY_REDIS_URL: server.url},
      },
    );
    try {
      const ran = await by(['send', 'asleep', 'x', '--policy', 'wake-and-wait', '--wait', '--json']);
      expect(ran.json()).toMatchObject({
        data: {status: 'WAIT_AND_DELIVER', wakeup: {decision: readyOrNone}, output: 'awake'},
      });
    } finally {
      provider.kill('SIGTERM');
      await new Promise(done => provider.once('close', done));
      await rm(dir, {recursive: true});
    }
  });

  test.each([
    ['an unknown agent type', ['send', 'shouterr', 'x'], 5, 'AGENT_TYPE_UNAVAILABLE'],
    ['an unknown policy', ['send', 'shouter', 'x', '-p', 'wake'], 2, 'USAGE'],
    ['no content', ['send', 'shouter'], 2, 'USAGE'],
    ['empty content', ['send', 'shouter', ' '], 2, 'INVALID_INPUT'],
    ['an unknown flag', ['send', 'shouter', 'x', '--polcy', 'x'], 2, 'USAGE'],
    ['an unknown command', ['snd', 'shouter', 'x'], 2, 'USAGE'],
    ['malformed JSON', ['send', 'shouter', '{"a":', '--content-json'], 2, 'INVALID_INPUT'],
    ['a malformed payload', ['send', 'shouter', 'x', '--payload', '[1]'], 2, 'INVALID_INPUT'],
    ['an id that is none', ['send', 'shouter', 'x', '-s', '../etc'], 2, 'INVALID_INPUT'],
    ['an unknown session', ['tail', 'sess-none'], 4, 'NOT_FOUND'],
    ['a dead letter that is not there', ['deadletter', 'show', '1-1'], 4, 'NOT_FOUND'],
    ['a replay of nothing in particular', ['deadletter', 'replay'], 2, 'USAGE'],
    ['a rate that is none', ['deadletter', 'replay', '--all', '--rate', 'fast'], 2, 'INVALID_INPUT'],
    ['a change without a value', ['deadletter', 'replay', '--all', '--set', 'body'], 2, 'USAGE'],
    ['a pattern that is none', ['deadletter', 'list', '--reason', '['], 2, 'INVALID_INPUT'],
    ['dead letters of no time', ['deadletter', 'list', '--since', 'soon'], 2, 'INVALID_INPUT'],
    ['a file that is not there', ['worker', 'run', 'nothing.ts'], 2, 'WORKER_LOAD_FAILED'],
    [
      'a password in the arguments',
      ['worker', 'list', '--redis-url', 'redis://:s3cret@localhost'],
      2,
      'USAGE',
    ],
    ['an address that is none', ['worker', 'list', '--redis-url', 'http://localhost'], 2, 'INVALID_CONFIG'],
  ])('%s is one clear line and its exit code, the same in JSON', async (_case, args, code, name) => {
    const human = await by(args);
    expect(human.code).toBe(code);
    expect(human.stdout).toBe('');
    expect(human.stderr).toContain(name);
    expect(human.stderr).not.toMatch(/\n\s+at /);
    const machine = await by([...args, '--json']);
    expect(machine.code).toBe(code);
    expect(machine.json()).toMatchObject({ok: false, schema: 'by.error/1', error: {code: name, exit: code}});
    expect(machine.stdout + machine.stderr + human.stderr).not.toContain('s3cret');
  });

  test('a message over the limit is refused before anything is written', async () => {
    const ran = await by(['send', 'shouter', '-', '--json'], 'x'.repeat(2_000_000));
    expect(ran.code).toBe(2);
    expect(ran.json()).toMatchObject({error: {code: 'MESSAGE_TOO_LARGE'}});
  });

  test('a key of the wrong type is said, not thrown', async () => {
    const store = openStore({url: server.url});
    await store.commands.run(redis => redis.set(store.keys.ctrlStream('blocked'), 'x'));
    store.close();
    const ran = await by(['send', 'blocked', 'x', '-p', 'send-anyway', '--json']);
    expect(ran).toMatchObject({code: 3});
    expect(ran.json()).toMatchObject({error: {code: 'REDIS_WRONG_TYPE'}});
  });
});

describe('by without its server', () => {
  let dir: string;
  beforeAll(async () => {
    dir = await mkdtemp(join(tmpdir(), 'by-test-'));
  });
  afterAll(() => rm(dir, {recursive: true}));
  const cleanups: (() => Promise<void>)[] = [];
  afterEach(async () => {
    for (const act of cleanups.splice(0)) await act();
  });

  test.each([
    ['worker', 'list'],
    ['send', 'x', 'y'],
    ['tail', 's'],
    ['doctor'],
    ['deadletter', 'list'],
    ['cancel', 's'],
  ])('by %s %s says that nobody answers, exit 3', async (...args) => {
    const ran = await runBy([...args.filter(Boolean), '--redis-url', 'redis://127.0.0.1:1', '--json'], {
      cwd: dir,
    });
    expect(ran.code).toBe(3);
    expect(ran.json()).toMatchObject({error: {code: 'REDIS_UNREACHABLE'}});
  });

  test('a wrong password is said, and not repeated', async () => {
    const server = await startRedisServer(['--requirepass', 'right-one']);
    cleanups.push(() => server.stop());
    const url = server.url.replace('right-one', 'wrong-one');
    const ran = await runBy(['worker', 'list'], {env: {BY_REDIS_URL: url}});
    expect(ran.code).toBe(3);
    expect(ran.stderr).toContain('REDIS_AUTH');
    expect(ran.stderr + ran.stdout).not.toContain('wrong-one');
    const fine = await runBy(
      ['worker', 'list', '--redis-password-stdin', '--redis-url', `redis://127.0.0.1:${server.port}`],
      {
        input: 'right-one\n',
      },
    );
    expect(fine.code).toBe(0);
  });

  test('a server that is too old is said', async () => {
    const server = await startOldRedis('5.0.14');
    cleanups.push(() => server.stop());
    const sent = await runBy(['send', 'x', 'y', '--json'], {env: {BY_REDIS_URL: server.url}, cwd: dir});
    expect(sent.json()).toMatchObject({error: {code: 'REDIS_TOO_OLD', exit: 3}});
  });

  test('a project file with a syntax error is named', async () => {
    await writeFile(join(dir, 'by.config.mjs'), 'export default {workers: [');
    const ran = await runBy(['worker', 'run'], {cwd: dir});
    expect(ran.code).toBe(2);
    expect(ran.stderr).toContain('INVALID_CONFIG');
    expect(ran.stderr).toContain('by.config.mjs');
  });

  test('a worker file with a syntax error is named', async () => {
    // A project's own file is read first: here there is none.
    await rm(join(dir, 'by.config.mjs'), {force: true});
    const file = join(dir, 'broken.ts');
    await writeFile(file, 'export const x = ;');
    const ran = await runBy(['worker', 'run', file], {cwd: dir});
    expect(ran.code).toBe(2);
    expect(ran.stderr).toContain('WORKER_LOAD_FAILED');
    expect(ran.stderr).toContain('broken.ts');
  });
});
