/** Groups of the kernel: where they are, and that programs in them get no more than they may have, whatever they try. */
import {spawn} from 'node:child_process';
import {once} from 'node:events';
import {existsSync, readFileSync, readlinkSync} from 'node:fs';
import {mkdir, mkdtemp, readdir, rm, rmdir, writeFile} from 'node:fs/promises';
import {tmpdir} from 'node:os';
import {dirname, join} from 'node:path';
import {afterAll, beforeAll, describe, expect, test} from 'vitest';
import {Cgroups, findHierarchies, settings, type GroupLimits} from '../../src/sandbox/cgroups.js';
import type {Isolation} from '../../src/sandbox/command-line.js';
import {probeSandbox} from '../../src/sandbox/probe.js';
import {runWatched} from '../../src/sandbox/run.js';
import {until} from '../support/stores.js';

describe('where groups can be made', () => {
  const V1 = [
    '31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755',
    '32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct',
    '35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory',
    '40 31 0:37 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids',
  ].join('\n');

  test('version 1: below the own group of each hierarchy', () => {
    const own = '9:pids:/\n4:memory:/user/w-1\n1:cpu,cpuacct:/\n0::/\n';
    expect(findHierarchies(V1, own)).toEqual([
      {
        ...{controller: 'memory', version: 1, bases: ['/sys/fs/cgroup/memory/user/w-1']},
        mounts: ['/sys/fs/cgroup/memory'],
      },
      {controller: 'pids', version: 1, bases: ['/sys/fs/cgroup/pids'], mounts: ['/sys/fs/cgroup/pids']},
      {
        ...{controller: 'cpu', version: 1, bases: ['/sys/fs/cgroup/cpu,cpuacct']},
        mounts: ['/sys/fs/cgroup/cpu,cpuacct'],
      },
    ]);
  });

  test('version 2: below the own group, else beside it; not above where it is mounted', () => {
    const mounts = '25 20 0:22 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate';
    const [memory] = findHierarchies(mounts, '0::/system.slice/by.service/worker\n');
    expect(memory).toMatchObject({
      ...{controller: 'memory', version: 2},
      bases: ['/sys/fs/cgroup/system.slice/by.service/worker', '/sys/fs/cgroup/system.slice/by.service'],
    });
    expect(findHierarchies(mounts, '0::/\n')[0]?.bases).toEqual(['/sys/fs/cgroup']);
  });

  test('of what is mounted only in part, what can be seen', () => {
    const part = String.raw`40 31 0:37 /docker/abc /a\040folder rw - cgroup cgroup rw,pids`;
    expect(findHierarchies(part, '9:pids:/docker/abc/w\n')).toMatchObject([{bases: ['/a folder/w']}]);
    expect(findHierarchies(part, '9:pids:/elsewhere\n')).toEqual([]);
    expect(findHierarchies('', '')).toEqual([]);
  });
});

test('limits in the words of both versions', () => {
  const limits: GroupLimits = {memoryBytes: 1000, processes: 5, cpuMillicores: 250};
  expect(settings('memory', 1, limits)).toEqual([
    ['memory.limit_in_bytes', '1000'],
    ['memory.memsw.limit_in_bytes', '1000'],
  ]);
  expect(settings('memory', 2, limits)).toEqual([
    ['memory.max', '1000'],
    ['memory.swap.max', '0'],
  ]);
  expect(settings('pids', 1, limits)).toEqual([['pids.max', '5']]);
  expect(settings('cpu', 1, limits)).toEqual([
    ['cpu.cfs_period_us', '100000'],
    ['cpu.cfs_quota_us', '25000'],
  ]);
  expect(settings('cpu', 2, {cpuMillicores: 1})).toEqual([['cpu.max', '1000 100000']]);
  expect(settings('memory', 2, {})).toEqual([]);
});

const never = new AbortController().signal;
const cgroups = await Cgroups.open();
const held: readonly Isolation[] = (
  await Promise.all((['bubblewrap', 'namespaces'] as const).map(one => probeSandbox(never, [one])))
).flatMap(({resources, isolation}) => (resources ? [isolation] : []));
const NONE = 'this machine has no cgroups of memory, pids and cpu that can be written';
const MB = 1024 * 1024;
const OWN_SPACE = 'unshare --user --keep-caps --mount --cgroup --propagation unchanged';

describe.each(held.length === 0 ? (['none'] as const) : held)('programs together, with %s', isolation => {
  let workspace: string;
  beforeAll(async () => {
    workspace = await mkdtemp(join(tmpdir(), 'by-workspace-'));
  });
  afterAll(() => rm(workspace, {recursive: true}));

  const run = (argv: readonly string[], limits: GroupLimits, by: Isolation = isolation) =>
    runWatched({
      ...{isolation: by, network: true, access: 'rw', workspace, argv, signal: never},
      ...{timeoutMs: 60_000, maxOutputBytes: 10_000},
      together: {cgroups: cgroups!, limits},
    });
  const shell = (script: string, limits: GroupLimits, by?: Isolation) =>
    run(['/bin/sh', '-c', script], limits, by);

  const FILL = `node=${process.execPath}; fill() { $node -e 'const kept = []; for (let i = 0; i < +process.argv[1]; i++) kept.push(Buffer.alloc(${MB}, 1)); console.log("had it"); setTimeout(() => 0, +process.argv[2])' "$1" "\${2:-0}"; }`;

  test('memory: one that takes too much is killed, one that does not is not', async ({skip}) => {
    skip(held.length === 0, NONE);
    const limits = {memoryBytes: 200 * MB};
    const modest = await shell(`${FILL}; fill 20`, limits);
    expect(modest).toMatchObject({result: {code: 0, stdout: 'had it\n'}, events: {outOfMemory: 0}});
    const greedy = await shell(`${FILL}; fill 400`, limits);
    expect(greedy.result.stdout).toBe('');
    expect(greedy.result.code).not.toBe(0);
    expect(greedy.events.outOfMemory).toBeGreaterThan(0);
  });

  test('memory: of several together too, each of which would have enough', async ({skip}) => {
    skip(held.length === 0, NONE);
    const script = `${FILL}; for i in 1 2 3 4; do fill 100 10000 & done; wait`;
    const {events} = await shell(script, {memoryBytes: 300 * MB});
    expect(events.outOfMemory).toBeGreaterThan(0);
    expect((await shell(`${FILL}; fill 100`, {memoryBytes: 300 * MB})).result.stdout).toBe('had it\n');
  });

  test('processes: no more than it may have', async ({skip}) => {
    skip(held.length === 0, NONE);
    const begin = (count: number) =>
      `i=0; while [ $i -lt ${count} ]; do sleep 5 >/dev/null 2>&1 & i=$((i + 1)); done; echo all`;
    expect((await shell(begin(4), {processes: 16})).result.stdout).toBe('all\n');
    const many = await shell(begin(40), {processes: 16});
    expect(many.result.stdout).toBe('');
    expect(many.result.stderr).toMatch(/fork/i);
  });

  test('processor: what it may have is counted, and it waits for more', async ({skip}) => {
    skip(held.length === 0, NONE);
    const spin = 'i=0; while [ $i -lt 50000 ]; do i=$((i + 1)); done; echo done';
    const {result, events} = await shell(spin, {cpuMillicores: 50});
    expect(result.stdout).toBe('done\n');
    expect(events.throttled).toBeGreaterThan(0);
  });

  test('nobody leaves: not by the files it would take, nor by namespaces of its own', async ({skip}) => {
    skip(held.length === 0, NONE);
    const ways = cgroups!.ways.map(way => `"${way}"`).join(' ');
    const leave = `for way in ${ways}; do { echo 0 > "$way"; } 2>/dev/null && echo left; done`;
    const limits = {memoryBytes: 200 * MB};
    const ran = await shell(`${leave}; ${FILL}; fill 400`, limits);
    expect(ran.result.stdout).toBe('');
    expect(ran.events.outOfMemory).toBeGreaterThan(0);
    // Who is root in a namespace of its own may mount its own group, and write to it.
    const mount = 'mount -t cgroup -o memory none /tmp && echo -1 > /tmp/memory.limit_in_bytes';
    const nested = await run(
      [
        '/bin/sh',
        '-c',
        `${OWN_SPACE} /bin/sh -c "$0" || /bin/sh -c "$0"`,
        `cd /; ${mount}; ${FILL}; fill 400`,
      ],
      limits,
    );
    expect(nested.result.stdout).toBe('');
    expect(nested.events.outOfMemory).toBeGreaterThan(0);
  });

  test('where nothing isolates a program it does leave: so that is not believed', async ({skip}) => {
    skip(held.length === 0 || process.getuid?.() !== 0, NONE);
    const ways = cgroups!.ways.map(way => `"${way}"`).join(' ');
    const script = `for way in ${ways}; do echo 0 > "$way"; done; ${FILL}; fill 400`;
    expect((await shell(script, {memoryBytes: 200 * MB}, 'none')).result.stdout).toBe('had it\n');
    expect(await probeSandbox(never, ['none'])).toMatchObject({resources: false});
  });

  test('what a program leaves running is ended, and its groups are gone', async ({skip}) => {
    skip(held.length === 0, NONE);
    const {result} = await shell('setsid sleep 1000 >/dev/null 2>&1 & echo $!', {processes: 50}, 'none');
    expect(result.stdout).not.toBe('');
    await until(() => hasEnded(Number(result.stdout)));
    // What takes long to end is left to the next who starts.
    await until(async () => {
      await Cgroups.open();
      const folders = await Promise.all(cgroups!.ways.map(way => readdir(dirname(way))));
      return !folders.flat().some(name => name.startsWith(`by-${mine()}-`));
    });
  });

  test('groups of workers that were killed are taken away by the next, with what is in them', async ({
    skip,
  }) => {
    skip(held.length === 0, NONE);
    const owner = spawn('sleep', ['1000']);
    const program = spawn('sleep', ['1000']);
    const name = `by-${space()}-${owner.pid}-${startOf(owner.pid ?? 0)}-0`;
    const folders = cgroups!.ways.map(way => join(dirname(way), name));
    for (const folder of folders) {
      await mkdir(join(folder, 'program'), {recursive: true});
      await writeFile(join(folder, 'program/cgroup.procs'), String(program.pid));
    }
    try {
      await Cgroups.open();
      expect(folders.every(folder => existsSync(folder))).toBe(true);
      const ended = [once(owner, 'exit'), once(program, 'exit')];
      owner.kill('SIGKILL');
      await ended[0];
      await Cgroups.open();
      await ended[1];
      await until(async () => {
        await Cgroups.open();
        return !folders.some(folder => existsSync(folder));
      });
    } finally {
      owner.kill('SIGKILL');
      program.kill('SIGKILL');
      for (const folder of folders)
        for (const one of [join(folder, 'program'), folder]) await rmdir(one).catch(() => undefined);
    }
  });
});

/** Gone, or dead and not yet asked for. */
function hasEnded(pid: number): boolean {
  try {
    return readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') Z ');
  } catch {
    return true;
  }
}

const space = () => /\d+/.exec(readlinkSync('/proc/self/ns/pid'))?.[0] ?? '';

const startOf = (pid: number) => {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? '';
};

const mine = () => `${space()}-${process.pid}-${startOf(process.pid)}`;
