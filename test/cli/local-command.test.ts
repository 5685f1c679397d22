import {Args, Flags} from '@oclif/core';
import {afterEach, describe, expect, test} from 'vitest';
import {BaseCommand} from '../../src/cli/base-command.js';
import {outputFlag} from '../../src/cli/flags.js';
import {opaque} from '../../src/cli/json.js';
import {paint} from '../../src/cli/printer.js';
import {ByError} from '../../src/errors.js';
import {runCommand} from './run-command.js';

class Greet extends BaseCommand {
  static override id = 'demo:greet';
  static override summary = 'Greets.';
  static override args = {name: Args.string({required: true})};
  static override flags = {
    times: Flags.integer({default: 1}),
    tone: Flags.string({options: ['warm', 'cold']}),
    output: outputFlag('table', 'json', 'jsonl', 'name'),
  };

  async run() {
    const {args, flags} = await this.parse(Greet);
    if (flags.tone === 'cold') this.warn('cold is not friendly');
    this.log('hello ', paint.bold(args.name));
    this.printer.event({type: 'greeting', toName: args.name});
    return {
      toName: args.name,
      sentAt: new Date(0),
      userPayload: opaque({camelKey: {innerKey: 1}}),
      list: [{oneTwo: 3}],
    };
  }
}

class Broken extends BaseCommand {
  static override id = 'demo:broken';
  static override flags = {how: Flags.string({default: 'known'})};
  async run(): Promise<void> {
    const {flags} = await this.parse(Broken);
    this.warn('about to fail');
    if (flags.how === 'known') {
      throw new ByError('AGENT_TYPE_UNAVAILABLE', 'No worker for "a\u001b[31mb" at redis://u:hunter2@h:1', {
        hint: 'Start one.',
        next: ['by agent show translator'],
        details: {agentType: 'translator', redisPassword: 'hunter2', url: 'redis://:hunter2@h'},
      });
    }
    throw new TypeError('page is undefined');
  }
}

describe('what run returns', () => {
  test('is the data of the JSON envelope, in snake_case, with user data untouched', async () => {
    const ran = await runCommand(Greet, ['Ada', '--tone', 'cold', '--json']);
    expect(ran.exit).toBe(0);
    expect(ran.stderr).toBe('');
    expect(JSON.parse(ran.stdout)).toEqual({
      ok: true,
      schema: 'by.demo.greet/1',
      data: {
        to_name: 'Ada',
        sent_at: '1970-01-01T00:00:00.000Z',
        user_payload: {camelKey: {innerKey: 1}},
        list: [{one_two: 3}],
      },
      warnings: ['cold is not friendly'],
    });
  });

  test('-o json is the same as --json, and piped output is one line', async () => {
    const long = await runCommand(Greet, ['Ada', '--json']);
    const short = await runCommand(Greet, ['Ada', '-o', 'json']);
    expect(short).toEqual(long);
    expect(short.stdout.trimEnd().split('\n')).toHaveLength(1);
  });

  test('jsonl prints events and no envelope', async () => {
    const {stdout} = await runCommand(Greet, ['Ada', '-o', 'jsonl']);
    expect(stdout).toBe('{"type":"greeting","to_name":"Ada"}\n');
  });

  test('people get lines, with everything hostile in them visible', async () => {
    const {stdout} = await runCommand(Greet, ['A\u001b[2Jda']);
    expect(stdout).toBe('hello A\\u{1b}[2Jda\n');
  });

  test('colour comes from paint and never from a string', async () => {
    const {stdout} = await runCommand(Greet, ['\u001b[31mAda', '--color', 'always']);
    expect(stdout).toBe('hello \u001b[1m\\u{1b}[31mAda\u001b[22m\n');
  });

  test('warnings go to standard error, and --quiet silences them', async () => {
    expect((await runCommand(Greet, ['Ada', '--tone', 'cold'])).stderr).toBe('! cold is not friendly\n');
    expect((await runCommand(Greet, ['Ada', '--tone', 'cold', '-q'])).stderr).toBe('');
  });
});

describe('an error', () => {
  test('keeps its exit code and shows code, message, hint and next step, without escape codes and secrets', async () => {
    const ran = await runCommand(Broken, []);
    expect(ran.exit).toBe(5);
    expect(ran.stdout).toBe('');
    expect(ran.stderr).toBe(
      '! about to fail\n' +
        '✗ AGENT_TYPE_UNAVAILABLE  No worker for "a\\u{1b}[31mb" at redis://u:***@h:1\n' +
        '  Start one.\n' +
        '  try  by agent show translator\n',
    );
  });

  test('is one JSON document on standard output under --json, with the same exit code', async () => {
    const ran = await runCommand(Broken, ['--json']);
    expect(ran.exit).toBe(5);
    expect(JSON.parse(ran.stdout)).toEqual({
      ok: false,
      schema: 'by.error/1',
      error: {
        code: 'AGENT_TYPE_UNAVAILABLE',
        exit: 5,
        message: 'No worker for "a\u001b[31mb" at redis://u:***@h:1',
        hint: 'Start one.',
        next: ['by agent show translator'],
        details: {agent_type: 'translator', redis_password: '***', url: 'redis://:***@h'},
      },
    });
    expect(ran.stdout).not.toContain('\u001b');
    expect(ran.stderr).toBe('! about to fail\n');
  });

  test('nobody expected is INTERNAL, exit 1, and shows its stack only with --verbose', async () => {
    const plain = await runCommand(Broken, ['--how', 'bug']);
    expect(plain.exit).toBe(1);
    expect(plain.stderr).toContain('✗ INTERNAL  page is undefined');
    expect(plain.stderr).toContain('--verbose');
    expect(plain.stderr).not.toContain('local-command.test');
    const verbose = await runCommand(Broken, ['--how', 'bug', '-v']);
    expect(verbose.stderr).toContain('local-command.test');
  });
});

describe('a wrong command line exits 2', () => {
  test.each([
    [
      'an unknown flag, with the nearest one',
      ['Ada', '--tims', '3'],
      'No such flag: --tims. Did you mean --times?',
    ],
    [
      'a value that is none of the options',
      ['Ada', '--tone', 'rude'],
      'Expected --tone=rude to be one of: warm, cold.',
    ],
    ['a missing argument', [], 'Missing 1 required arg: name.'],
    ['an argument too many', ['Ada', 'Bob'], 'Unexpected argument: Bob.'],
    ['a number that is none', ['Ada', '--times', 'x'], '--times: Expected an integer but received: x.'],
    ['a duration without a unit', ['Ada', '--timeout', '30'], '--timeout: "30" is not a duration.'],
  ])('%s', async (_, argv, message) => {
    const people = await runCommand(Greet, argv);
    expect(people).toMatchObject({exit: 2, stdout: ''});
    expect(people.stderr).toContain(message);
    expect(people.stderr.split('\n').length).toBeLessThan(5);
    const json = await runCommand(Greet, [...argv, '--json']);
    expect(json).toMatchObject({exit: 2, stderr: ''});
    const {error} = JSON.parse(json.stdout) as {error: {code: string; exit: number; message: string}};
    expect(error).toMatchObject({exit: 2, message});
  });

  test('a password in --redis-url, which is not repeated', async () => {
    for (const url of ['redis://:hunter2@h:6379', 'redis://u:hunt@r2@h', 'rediss://u:hunter2@h/0']) {
      const ran = await runCommand(Greet, ['Ada', '--redis-url', url, '--json']);
      expect(ran.exit).toBe(2);
      expect(ran.stdout).toContain('BY_REDIS_URL');
      expect(ran.stdout + ran.stderr).not.toContain('hunt');
    }
    expect((await runCommand(Greet, ['Ada', '--redis-url', 'redis://u@h:6379/0'])).exit).toBe(0);
  });
});

describe('a signal', () => {
  class Wait extends BaseCommand {
    static override id = 'demo:wait';
    static override flags = {listen: Flags.boolean(), server: Flags.boolean()};
    static cleaned: string[] = [];
    protected override readonly endsBySignal = this.argv.includes('--server');
    async run() {
      const {flags} = await this.parse(Wait);
      this.onExit(() => Wait.cleaned.push('first'));
      this.onExit(async () => Wait.cleaned.push('second'));
      setTimeout(() => process.emit('SIGTERM'), 5);
      await new Promise<void>(resolve => {
        if (flags.listen || flags.server) this.signal.addEventListener('abort', () => resolve());
      });
      return {drained: true};
    }
  }
  afterEach(() => {
    Wait.cleaned = [];
  });

  test('ends a command that does not listen, after its clean-ups, last one first', async () => {
    const listeners = process.listenerCount('SIGTERM');
    const ran = await runCommand(Wait, ['--json']);
    expect(ran.exit).toBe(143);
    expect(JSON.parse(ran.stdout)).toMatchObject({ok: false, error: {code: 'INTERRUPTED', exit: 143}});
    expect(Wait.cleaned).toEqual(['second', 'first']);
    expect(process.listenerCount('SIGTERM')).toBe(listeners);
  });

  test('lets a command that listens end by itself, and still exits 143', async () => {
    expect(await runCommand(Wait, ['--listen'])).toEqual({stdout: '', stderr: '', exit: 143});
  });

  test('is how a server ends: exit 0', async () => {
    const ran = await runCommand(Wait, ['--server', '--json']);
    expect(ran.exit).toBe(0);
    expect(JSON.parse(ran.stdout)).toMatchObject({ok: true, data: {drained: true}});
  });

  test('--timeout ends a command with exit 8', async () => {
    class Forever extends BaseCommand {
      static override id = 'demo:forever';
      async run(): Promise<never> {
        await this.parse(Forever);
        return new Promise<never>(() => undefined);
      }
    }
    const ran = await runCommand(Forever, ['--timeout', '20ms']);
    expect(ran.exit).toBe(8);
    expect(ran.stderr).toContain('✗ TIMEOUT');
  });
});

describe('a confirmation', () => {
  class Drop extends BaseCommand {
    static override id = 'demo:drop';
    async run() {
      await this.parse(Drop);
      return {dropped: await this.confirm('Drop 3 entries?')};
    }
  }

  test('is given by --yes, and refused without a terminal', async () => {
    expect((await runCommand(Drop, ['--yes', '--json'])).exit).toBe(0);
    const refused = await runCommand(Drop, []);
    expect(refused.exit).toBe(2);
    expect(refused.stderr).toContain('✗ INPUT_NEEDED  Drop 3 entries?');
    expect(refused.stderr).toContain('--yes');
  });
});
