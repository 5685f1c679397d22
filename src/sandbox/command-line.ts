/**
 * The words that start a program with less than its parent may do. Pure: which of them work on a machine is probe.ts's
 * question, running them is run.ts's.
 *
 * Everything outside the workspace is seen and can not be written; home folders, `/tmp` and `/run`, where keys and the
 * sockets of services are, are not even seen. bubblewrap does it all. Where there is none, the namespaces of the kernel
 * are entered with `unshare`, which is enough for the network and for the workspace itself, and no more.
 */
import {dirname} from 'node:path';
import type {SandboxAbilities} from '../protocol/orchestration/abilities.js';

export type Isolation = SandboxAbilities['isolation'];
export type WorkspaceAccess = 'none' | 'ro' | 'rw';

export interface SandboxLimits {
  /** Bytes of private memory a process may have. */
  readonly memoryBytes?: number | undefined;
  /** Seconds of processor a process may use. */
  readonly cpuSeconds?: number | undefined;
}

export interface SandboxRequest {
  readonly isolation: Isolation;
  readonly network: boolean;
  /** The folder the program works in; absolute. */
  readonly workspace: string;
  readonly access: WorkspaceAccess;
  /** The program, as an absolute path, and its arguments. */
  readonly argv: readonly string[];
  readonly limits?: SandboxLimits;
  /** Folders that are empty for it, beside those that always are. Only where there is anything to hide them with. */
  readonly hide?: readonly string[];
}

/** Folders a program gets empty. Not `/proc` and `/dev`: it gets its own. */
const HIDDEN = ['/tmp', '/var/tmp', '/home', '/root', '/run'];

export function sandboxCommand(request: SandboxRequest): readonly string[] {
  const limited = [...limitWords(request.limits ?? {}), ...request.argv];
  switch (request.isolation) {
    case 'bubblewrap':
      return [...bubblewrap(request), '--', ...limited];
    case 'namespaces':
      return [...namespaces(request), ...limited];
    case 'none':
      return limited;
  }
}

/** Starts what comes after the files of its groups in these, or not at all. */
const JOIN = `set -e
count=$1
shift
while [ "$count" -gt 0 ]; do echo 0 > "$1"; shift; count=$((count - 1)); done
exec "$@"`;

/** @param entries as in cgroups.ts. */
export const inGroup = (entries: readonly string[], command: readonly string[]): readonly string[] => [
  ...['/bin/sh', '-c', JOIN, 'sh', String(entries.length), ...entries],
  ...command,
];

function bubblewrap({network, workspace, access, hide, argv: [program = '']}: SandboxRequest): string[] {
  const hidden = HIDDEN.flatMap(folder => ['--tmpfs', folder]);
  const closed = deepestFirst(hide).flatMap(folder => ['--tmpfs', folder, '--remount-ro', folder]);
  const ownFolder = HIDDEN.some(folder => program.startsWith(`${folder}/`)) ? dirname(program) : undefined;
  return [
    ...['bwrap', '--die-with-parent', '--new-session', '--cap-drop', 'ALL'],
    ...['--unshare-user-try', '--unshare-pid', '--unshare-ipc', '--unshare-uts', '--unshare-cgroup-try'],
    ...(network ? [] : ['--unshare-net']),
    ...['--ro-bind', '/', '/', '--dev', '/dev', '--proc', '/proc', ...hidden, ...closed],
    ...(ownFolder === undefined ? [] : ['--ro-bind', ownFolder, ownFolder]),
    ...(access === 'none'
      ? ['--tmpfs', workspace, '--remount-ro', workspace]
      : [access === 'rw' ? '--bind' : '--ro-bind', workspace, workspace]),
    ...['--chdir', workspace],
  ];
}

/** Mounted before what could undo it is given up: without capabilities nothing is mounted again. */
const ENTER = `set -e
access=$1 workspace=$2 hidden=$3
shift 3
while [ "$hidden" -gt 0 ]; do mount -t tmpfs -o ro,size=4k none "$1"; shift; hidden=$((hidden - 1)); done
case "$access" in
  ro) mount --bind "$workspace" "$workspace"; mount -o remount,bind,ro "$workspace" ;;
  none) mount -t tmpfs -o ro,size=4k none "$workspace" ;;
esac
cd "$workspace"
exec setpriv --no-new-privs --inh-caps=-all --bounding-set=-all -- "$@"`;

function namespaces({network, workspace, access, hide}: SandboxRequest): string[] {
  const hidden = deepestFirst(hide);
  return [
    ...['unshare', '--user', '--map-root-user', '--mount', '--pid', '--fork', '--kill-child', '--mount-proc'],
    ...(network ? [] : ['--net']),
    ...['/bin/sh', '-c', ENTER, 'sh', access, workspace, String(hidden.length), ...hidden],
  ];
}

/** What is hidden can not be found any more, so what is below it goes first. */
const deepestFirst = (folders: readonly string[] = []): readonly string[] =>
  [...folders].sort((a, b) => b.length - a.length);

function limitWords({memoryBytes, cpuSeconds}: SandboxLimits): string[] {
  const words = [
    // What a process writes to, not what it reserves: a JavaScript engine reserves far more than it uses.
    ...(memoryBytes === undefined ? [] : [`--data=${memoryBytes}`]),
    ...(cpuSeconds === undefined ? [] : [`--cpu=${cpuSeconds}`]),
  ];
  return words.length === 0 ? [] : ['prlimit', ...words, '--core=0', '--'];
}
