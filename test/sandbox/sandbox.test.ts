/** Programs try to do what their policy forbids; the machine's own means have to stop them. */
import {existsSync, readFileSync} from 'node:fs';
import {mkdtemp, readFile, rm, writeFile} from 'node:fs/promises';
import {createServer, type AddressInfo} from 'node:net';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {afterAll, beforeAll, describe, expect, test} from 'vitest';
import {sandboxCommand, type Isolation, type WorkspaceAccess} from '../../src/sandbox/command-line.js';
import {NO_SANDBOX, probeSandbox} from '../../src/sandbox/probe.js';
import {runSandboxed} from '../../src/sandbox/run.js';
import {until} from '../support/stores.js';

const never = new AbortController().signal;
/** Each that this machine has, and none at all. */
const machines = [
  await probeSandbox(never, ['bubblewrap']),
  await probeSandbox(never, ['namespaces']),
  NO_SANDBOX,
].filter(({isolation}, i, all) => i === all.length - 1 || isolation !== 'none');

describe.each(machines)('with $isolation', abilities => {
  let workspace: string;
  beforeAll(async () => {
    workspace = await mkdtemp(join(tmpdir(), 'by-workspace-'));
    await writeFile(join(workspace, 'kept'), 'what was there');
  });
  afterAll(() => rm(workspace, {recursive: true}));

  interface Trial {
    readonly network?: boolean;
    readonly access?: WorkspaceAccess;
    readonly isolation?: Isolation;
    readonly memoryBytes?: number;
    readonly timeoutMs?: number;
    readonly maxOutputBytes?: number;
    readonly signal?: AbortSignal;
    readonly env?: Readonly<Record<string, string>>;
    readonly stdin?: string;
  }

  const run = (argv: readonly string[], trial: Trial = {}) =>
    runSandboxed({
      ...{
        isolation: abilities.isolation,
        network: true,
        access: 'rw',
        timeoutMs: 60_000,
        maxOutputBytes: 100_000,
      },
      ...{workspace, argv, signal: never},
      ...trial,
      ...(trial.memoryBytes === undefined ? {} : {limits: {memoryBytes: trial.memoryBytes}}),
    });
  const shell = (script: string, trial?: Trial) => run(['/bin/sh', '-c', script], trial);
  const node = (code: string, args: readonly string[] = [], trial?: Trial) =>
    run([process.execPath, '-e', code, ...args], trial);

  /** Gone, or dead and not yet asked for. */
  function hasEnded(pid: number): boolean {
    try {
      return readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') Z ');
    } catch {
      return true;
    }
  }

  const CONNECT = `require('net').connect(+process.argv[1], '127.0.0.1', () => { console.log('through'); process.exit(); })
  .on('error', error => { console.log(error.code); process.exit(); })`;

  // Where a machine has not got the means, nothing is promised, and there is nothing to test.
  if (abilities.network)
    describe('the network', () => {
      test('is not reached where it is forbidden, and is where it is not', async () => {
        const server = createServer(socket => socket.end());
        await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
        const port = String((server.address() as AddressInfo).port);
        try {
          expect((await node(CONNECT, [port])).stdout.trim()).toBe('through');
          expect((await node(CONNECT, [port], {network: false})).stdout.trim()).not.toBe('through');
        } finally {
          server.close();
        }
      });
    });

  if (abilities.workspace)
    describe('the workspace', () => {
      test('is written where that is allowed', async () => {
        expect(await shell('cat kept; echo new > made')).toMatchObject({code: 0, stdout: 'what was there'});
        expect(await readFile(join(workspace, 'made'), 'utf8')).toBe('new\n');
      });

      test.each([
        'echo no > kept',
        'rm kept',
        'mkdir folder',
        'ln -s /etc/passwd link',
        'mount -o remount,rw "$PWD"',
      ])('read-only: %s is refused', async script => {
        const ran = await shell(`${script}; true`, {access: 'ro'});
        expect(ran.stderr).not.toBe('');
        expect(await readFile(join(workspace, 'kept'), 'utf8')).toBe('what was there');
      });

      test('read-only: after taking the mount away there is still nothing to write to', async () => {
        await shell('umount "$PWD"; umount -l "$PWD"; cd /; cd "$OLDPWD"; echo no > kept', {access: 'ro'});
        expect(await readFile(join(workspace, 'kept'), 'utf8')).toBe('what was there');
      });

      test('none: nothing of it is seen', async () => {
        expect((await shell('ls -A; cat kept', {access: 'none'})).stdout).toBe('');
      });
    });

  describe('a program', () => {
    test('has no capabilities, and sees no processes but its own', async () => {
      const {stdout} = await shell('grep -E "Cap(Eff|Bnd|Prm)" /proc/self/status; echo $PPID');
      if (abilities.isolation === 'none') return;
      expect([...stdout.matchAll(/Cap\w+:\s+(\w+)/g)].map(([, bits]) => bits)).toEqual(
        Array.from({length: 3}, () => '0000000000000000'),
      );
      expect(Number(stdout.trim().split('\n').at(-1))).toBeLessThan(10);
    });

    test('gets no environment but what it is given', async () => {
      process.env['BY_SECRET_OF_THE_WORKER'] = 'secret';
      const {stdout} = await shell('env', {env: {GIVEN: 'yes'}});
      expect(stdout).toContain('GIVEN=yes');
      expect(stdout).not.toContain('BY_SECRET_OF_THE_WORKER');
    });

    test('gets what it is to read, and says what it says', async () => {
      expect(await shell('cat; echo bad >&2; exit 3', {stdin: 'given'})).toEqual({
        ...{code: 3, signal: null, stdout: 'given', stderr: 'bad\n', isTruncated: false, isTimedOut: false},
        isOutOfMemory: false,
      });
    });

    test('may say more than is kept', async () => {
      const ran = await shell('head -c 1000000 /dev/zero', {maxOutputBytes: 1000});
      expect(ran).toMatchObject({code: 0, isTruncated: true});
      expect(ran.stdout).toHaveLength(1000);
    });

    test('ends when its time is over, with all it started', async () => {
      const ran = await shell('sleep 1000 & echo $!; wait', {timeoutMs: 500});
      expect(ran).toMatchObject({isTimedOut: true});
      // In a process namespace its number says nothing to us.
      if (abilities.isolation === 'none') await until(() => hasEnded(Number(ran.stdout)));
    });

    test('ends when it is told to, even if it does not want to', async () => {
      const stop = new AbortController();
      const script = 'trap "" TERM; echo > deaf; while :; do sleep 0.1; done';
      const ends = expect(shell(script, {signal: stop.signal})).rejects.toThrow('cancelled');
      await Promise.race([until(() => existsSync(join(workspace, 'deaf'))), ends]);
      stop.abort(new Error('cancelled'));
      await ends;
    });

    test('that there is not is said to be missing', async () => {
      await expect(run(['/no/such/program'], {isolation: 'none'})).rejects.toMatchObject({code: 'NOT_FOUND'});
    });
  });

  if (abilities.limits)
    test('memory: a process gets what it may have, and no more', async () => {
      const ALLOCATE = `try { Buffer.alloc(+process.argv[1]); console.log('had it'); } catch { console.log('refused'); }`;
      const memoryBytes = 512 * 1024 * 1024;
      expect((await node(ALLOCATE, ['1000000'], {memoryBytes})).stdout.trim()).toBe('had it');
      expect((await node(ALLOCATE, ['1000000000'], {memoryBytes})).stdout.trim()).toBe('refused');
    });
});

test('a machine without any means promises nothing', async () => {
  expect(NO_SANDBOX).toEqual({
    isolation: 'none',
    network: false,
    workspace: false,
    limits: false,
    resources: false,
  });
  expect(await probeSandbox(never, [])).toEqual(NO_SANDBOX);
  expect(await probeSandbox(never)).toEqual(machines[0]);
});

test('what is in /home, /root, /tmp and /run is not even seen with bubblewrap', () => {
  const words = sandboxCommand({
    ...{isolation: 'bubblewrap', network: false, access: 'ro', workspace: '/srv/w', argv: ['/bin/true']},
  });
  for (const folder of ['/home', '/root', '/tmp', '/run'])
    expect(words.join(' ')).toContain(`--tmpfs ${folder} `);
  expect(words).toContain('--unshare-net');
  expect(words.slice(-2)).toEqual(['--', '/bin/true']);
});
