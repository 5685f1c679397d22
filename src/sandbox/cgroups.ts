/**
 * What a program and all it starts may use together: memory, processes, processor time, as groups of the kernel (cgroups)
 * hold them to it. Version 2 where its controllers were delegated to us, version 1 where its hierarchies may be written. Where
 * they are is read from /proc, never assumed; whether they hold is probe.ts's question.
 *
 * Each program has two groups of its own, below the worker's: the outer one has the limits, the inner one the program. What
 * a program may find of the hierarchy, in a namespace of its own making too, begins with the inner one, so that it can not
 * raise its limits.
 */
import {access, constants, mkdir, readdir, readFile, readlink, rmdir, writeFile} from 'node:fs/promises';
import {dirname, join, relative} from 'node:path';
import {setTimeout as wait} from 'node:timers/promises';
import {newHexUuid} from '../ids.js';

export const CONTROLLERS = ['memory', 'pids', 'cpu'] as const;
export type Controller = (typeof CONTROLLERS)[number];

/** Where a controller's groups can be made. */
export interface Hierarchy {
  readonly controller: Controller;
  readonly version: 1 | 2;
  /** Folders to make groups in, the best first: below the worker's own group, so that its limits hold too. */
  readonly bases: readonly string[];
  /** Folders it is mounted at. */
  readonly mounts: readonly string[];
}

export interface GroupLimits {
  /** Bytes of memory, swap included. */
  readonly memoryBytes?: number | undefined;
  /** Processes and threads. */
  readonly processes?: number | undefined;
  /** Thousandths of one processor. */
  readonly cpuMillicores?: number | undefined;
}

/** What has happened in a group. */
export interface GroupEvents {
  /** Processes that were killed because there was no memory left. */
  readonly outOfMemory: number;
  /** Times it had to wait because its processor time was used up. */
  readonly throttled: number;
}

export interface Group {
  /** Whoever writes 0 to each of these files is in it, with all that it starts. */
  readonly entries: readonly string[];
  events(): Promise<GroupEvents>;
  /** Kills what is left in it, and takes it away. */
  remove(): Promise<void>;
}

interface Mount {
  readonly root: string;
  readonly at: string;
  readonly version: 1 | 2;
  readonly controllers: readonly string[];
}

/**
 * @param mountinfo text of /proc/self/mountinfo
 * @param cgroup text of /proc/self/cgroup
 * @returns for each controller where its groups may be, version 2 first.
 */
export function findHierarchies(mountinfo: string, cgroup: string): Hierarchy[] {
  const mounts = mountinfo.split('\n').flatMap(readMount);
  const own = new Map<string, string>();
  // Version 2 is the one without names: `0::/path`.
  for (const [, names = '', path = ''] of cgroup.matchAll(/^\d+:([^:\n]*):(.*)$/gm))
    for (const name of names.split(',')) own.set(name, path);
  const below = (path: string | undefined) => (mount: Mount) => {
    const rest = path === undefined ? '..' : relative(mount.root, path);
    // Our group is outside of what is mounted here.
    return rest.startsWith('..') ? [] : [join(mount.at, rest)];
  };
  return CONTROLLERS.flatMap(controller =>
    ([2, 1] as const).flatMap((version): Hierarchy[] => {
      const its = mounts.filter(
        mount => mount.version === version && (version === 2 || mount.controllers.includes(controller)),
      );
      const [base] = its.flatMap(below(own.get(version === 2 ? '' : controller)));
      if (base === undefined) return [];
      const at = its.map(mount => mount.at);
      // A group of version 2 with processes in it has no groups with limits below it; the one above it may have: systemd's
      // DelegateSubgroup= makes it so. Higher up the limits of the worker's own unit would not hold.
      const above = dirname(base);
      const isUnit = /\.(?:service|scope)$/.test(above);
      const bases = version === 1 || at.includes(base) || !isUnit ? [base] : [base, above];
      return [{controller, version, bases, mounts: at}];
    }),
  );
}

/** `36 35 98:0 /root /at rw,noatime shared:1 - cgroup cgroup rw,memory` */
function readMount(line: string): Mount[] {
  const [before = '', after = ''] = line.split(' - ');
  const [, , , root = '', at = ''] = before.split(' ').map(unescape);
  const [type, , options = ''] = after.split(' ');
  if (type !== 'cgroup' && type !== 'cgroup2') return [];
  return [{root, at, version: type === 'cgroup2' ? 2 : 1, controllers: options.split(',')}];
}

/** The kernel writes blanks and the like in octal. */
const unescape = (text: string): string =>
  text.replaceAll(/\\([0-7]{3})/g, (_, digits: string) => String.fromCharCode(parseInt(digits, 8)));

/** Where groups of ours can be made now: one folder for each controller. */
interface Place {
  readonly controller: Controller;
  readonly version: 1 | 2;
  readonly base: string;
}

/** Microseconds in which processor time is counted. */
const PERIOD_US = 100_000;
/** The kernel takes no less for one. */
const LEAST_QUOTA_US = 1000;
const REMOVE_TRIES = 100;
const REMOVE_EVERY_MS = 10;

export class Cgroups {
  private constructor(
    private readonly places: readonly Place[],
    /** Folders a program must not see: whoever writes there leaves its group. */
    readonly mounts: readonly string[],
    /** Of this process: no other has it, also once its number is used again. */
    private readonly owner: string,
  ) {}

  /** @returns undefined unless all of the controllers can be used. What workers left that are gone is taken away. */
  static async open(): Promise<Cgroups | undefined> {
    let found: Hierarchy[];
    let owner: string;
    try {
      const read = (name: string) => readFile(`/proc/self/${name}`, 'utf8');
      found = findHierarchies(await read('mountinfo'), await read('cgroup'));
      owner = `${await pidSpace()}-${process.pid}-${await startOf(process.pid)}`;
    } catch {
      return undefined;
    }
    const places = await Promise.all(
      CONTROLLERS.map(controller => placeOf(found.filter(one => one.controller === controller))),
    );
    if (!places.every(place => place !== undefined)) return undefined;
    const used = found.filter(one =>
      places.some(({controller, version}) => one.controller === controller && one.version === version),
    );
    const groups = new Cgroups(places, [...new Set(used.flatMap(({mounts}) => mounts))], owner);
    await groups.removeLeft();
    return groups;
  }

  /** A new group. @throws if the kernel refuses; nothing is left then. */
  async create(limits: GroupLimits): Promise<Group> {
    const name = `by-${this.owner}-${newHexUuid().slice(0, 12)}`;
    // Controllers of one hierarchy share its folder.
    const folders = this.bases.map(base => join(base, name));
    try {
      for (const folder of folders) await mkdir(folder);
      for (const {controller, version, base} of this.places)
        for (const [file, value] of settings(controller, version, limits))
          await writeFile(join(base, name, file), value).catch((error: unknown) => {
            // Kernels that do not count swap have no file for it.
            if (!file.includes('sw') || (error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
          });
      for (const folder of folders) await mkdir(join(folder, INNER));
    } catch (error) {
      await Promise.all(folders.map(removeGroup));
      throw error;
    }
    const fileOf = (controller: Controller, v1: string, v2: string) => {
      const place = this.places.find(one => one.controller === controller);
      return place && join(place.base, name, place.version === 1 ? v1 : v2);
    };
    return {
      entries: folders.map(folder => join(folder, INNER, 'cgroup.procs')),
      events: async () => ({
        // Version 1 counts where it happened, version 2 upwards too.
        outOfMemory: Math.max(
          await counter(fileOf('memory', `${INNER}/memory.oom_control`, 'memory.events'), 'oom_kill'),
          await counter(fileOf('memory', 'memory.oom_control', 'memory.events'), 'oom_kill'),
        ),
        throttled: await counter(fileOf('cpu', 'cpu.stat', 'cpu.stat'), 'nr_throttled'),
      }),
      remove: async () => {
        await Promise.all(folders.map(removeGroup));
      },
    };
  }

  /** Files that take whoever writes to them out of its group: a program must not be able to. */
  get ways(): readonly string[] {
    return this.bases.map(base => join(base, 'cgroup.procs'));
  }

  private get bases(): readonly string[] {
    return [...new Set(this.places.map(({base}) => base))];
  }

  /** Groups of processes of this machine that are gone. */
  private async removeLeft(): Promise<void> {
    const [space = ''] = this.owner.split('-');
    for (const base of this.bases) {
      // Tidying up must not keep anything from starting: what can not be listed is left as it is.
      const names = await readdir(base).catch(() => []);
      for (const name of names) {
        const [, itsSpace, pid, start] = /^by-(\d+)-(\d+)-(\d+)-[\da-f]+$/.exec(name) ?? [];
        // Processes of another space are none that we see.
        if (pid === undefined || itsSpace !== space) continue;
        // Of a process that has ended nothing can be read.
        const isThere = (await startOf(Number(pid)).catch(() => undefined)) === start;
        if (!isThere) await removeGroup(join(base, name));
      }
    }
  }
}

const INNER = 'program';

/** The first folder in which groups with this controller can be made. */
async function placeOf(hierarchies: readonly Hierarchy[]): Promise<Place | undefined> {
  for (const {controller, version, bases} of hierarchies)
    for (const base of bases) {
      const isReady = version === 1 || (await isDelegated(base, controller));
      if (isReady && (await isWritable(base))) return {controller, version, base};
    }
  return undefined;
}

const isWritable = (folder: string): Promise<boolean> =>
  access(folder, constants.W_OK).then(
    () => true,
    () => false,
  );

/** Whether groups below have this controller; asked for it, if it is there to be had. */
async function isDelegated(base: string, controller: Controller): Promise<boolean> {
  // A group without the file has nothing to give.
  const has = async (file: string) =>
    (await readFile(join(base, file), 'utf8').catch(() => '')).trim().split(' ').includes(controller);
  if (await has('cgroup.subtree_control')) return true;
  if (!(await has('cgroup.controllers'))) return false;
  // Refused where it is not ours to give, or processes are in the group itself.
  await writeFile(join(base, 'cgroup.subtree_control'), `+${controller}`).catch(() => undefined);
  return has('cgroup.subtree_control');
}

/** Files to write, in this order. */
export function settings(
  controller: Controller,
  version: 1 | 2,
  {memoryBytes, processes, cpuMillicores}: GroupLimits,
): readonly (readonly [file: string, value: string])[] {
  switch (controller) {
    case 'memory': {
      if (memoryBytes === undefined) return [];
      const bytes = String(memoryBytes);
      return version === 1
        ? [
            ['memory.limit_in_bytes', bytes],
            ['memory.memsw.limit_in_bytes', bytes],
          ]
        : [
            ['memory.max', bytes],
            ['memory.swap.max', '0'],
          ];
    }
    case 'pids':
      return processes === undefined ? [] : [['pids.max', String(processes)]];
    case 'cpu': {
      if (cpuMillicores === undefined) return [];
      const quota = Math.max(LEAST_QUOTA_US, Math.round((cpuMillicores * PERIOD_US) / 1000));
      return version === 1
        ? [
            ['cpu.cfs_period_us', String(PERIOD_US)],
            ['cpu.cfs_quota_us', String(quota)],
          ]
        : [['cpu.max', `${quota} ${PERIOD_US}`]];
    }
  }
}

/** A line `name 3` of a file; 0 if there is none. */
async function counter(file: string | undefined, name: string): Promise<number> {
  const text = file === undefined ? '' : await readFile(file, 'utf8').catch(() => '');
  return Number(new RegExp(`^${name} (\\d+)$`, 'm').exec(text)?.[1] ?? 0);
}

async function removeGroup(folder: string): Promise<void> {
  await removeFolder(join(folder, INNER));
  await removeFolder(folder);
}

/** What was killed is in its group until its parent has heard of it. */
async function removeFolder(folder: string): Promise<void> {
  for (let tries = 0; ; tries++) {
    await killAll(folder);
    try {
      await rmdir(folder);
      return;
    } catch (error) {
      const {code} = error as NodeJS.ErrnoException;
      // Left to whoever starts after us, if it can not be done now.
      if (code !== 'EBUSY' || tries === REMOVE_TRIES) return;
    }
    await wait(REMOVE_EVERY_MS);
  }
}

async function killAll(folder: string): Promise<void> {
  // A group that is gone has no processes.
  const pids = await readFile(join(folder, 'cgroup.procs'), 'utf8').catch(() => '');
  for (const pid of pids.split('\n').map(Number).filter(Boolean)) {
    try {
      process.kill(pid, 'SIGKILL');
    } catch {
      // It has ended by itself.
    }
  }
}

/** Which process numbers these are: those of a container are not its neighbour's. */
async function pidSpace(): Promise<string> {
  return /\d+/.exec(await readlink('/proc/self/ns/pid'))?.[0] ?? '0';
}

/** When a process began, in the kernel's ticks: with its number, a name that is used once. */
async function startOf(pid: number): Promise<string> {
  const stat = await readFile(`/proc/${pid}/stat`, 'utf8');
  // The name of the program is in brackets and may hold anything; the 22nd field is the 20th after it.
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? '';
}

let own: Promise<Cgroups | undefined> | undefined;

/** Of the machine this process runs on, looked for once. */
export const machineCgroups = (): Promise<Cgroups | undefined> => (own ??= Cgroups.open());
