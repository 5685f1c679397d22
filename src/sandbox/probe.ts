/**
 * What this machine can hold a program to, found out by trying to break out: that a program is installed proves
 * nothing. A sandbox in which the trial reaches the network, or writes where it may not, is not one.
 */
import {mkdtemp, rm, writeFile} from 'node:fs/promises';
import {createServer, type AddressInfo} from 'node:net';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import type {SandboxAbilities} from '../protocol/orchestration/abilities.js';
import {machineCgroups, type Cgroups, type GroupLimits} from './cgroups.js';
import type {Isolation, WorkspaceAccess} from './command-line.js';
import {runSandboxed, runWatched} from './run.js';

export const NO_SANDBOX: SandboxAbilities = {
  ...{isolation: 'none', network: false, workspace: false, limits: false},
  resources: false,
};

/** What a trial could do. */
interface Escapes {
  readonly connected: boolean;
  readonly wrote: boolean;
  readonly read: boolean;
  /** Had as much memory as it asked for. */
  readonly allocated: boolean;
}

const MB = 1024 * 1024;
/** What a trial with a limit may have, and what it asks for. */
const ALLOWED_BYTES = 512 * MB;
const ASKED_BYTES = 1024 * MB;

const TRIAL = `
const fs = require('fs'), net = require('net');
const can = work => { try { work(); return true; } catch { return false; } };
const wrote = can(() => fs.writeFileSync(process.argv[1] + '/trial', 'x'));
const read = can(() => fs.readFileSync(process.argv[1] + '/kept'));
const allocated = can(() => Buffer.alloc(Number(process.argv[3])));
const say = connected => { process.stdout.write(JSON.stringify({connected, wrote, read, allocated})); process.exit(0); };
const socket = net.connect(Number(process.argv[2]), '127.0.0.1', () => say(true)).on('error', () => say(false));
setTimeout(() => say(false), 8000);
`;

/** Milliseconds a trial may take; one that hangs is none that holds. */
const TRIAL_MS = 30_000;

/**
 * Takes a second or two and starts a dozen processes: once for a worker is enough.
 * @param candidates the first that holds is taken.
 */
export async function probeSandbox(
  signal: AbortSignal,
  candidates: readonly Isolation[] = ['bubblewrap', 'namespaces'],
): Promise<SandboxAbilities> {
  for (const isolation of candidates) {
    const found = await probe(isolation, signal);
    if (found !== undefined) return found;
  }
  return NO_SANDBOX;
}

let found: Promise<SandboxAbilities> | undefined;

/** Of the machine this process runs on, looked for once. */
export const machineAbilities = (): Promise<SandboxAbilities> =>
  (found ??= probeSandbox(new AbortController().signal));

async function probe(isolation: Isolation, signal: AbortSignal): Promise<SandboxAbilities | undefined> {
  const folder = await mkdtemp(join(tmpdir(), 'by-sandbox-'));
  const server = createServer(socket => socket.destroy());
  try {
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
    const {port} = server.address() as AddressInfo;
    const attempt = (network: boolean, access: WorkspaceAccess, isLimited = false) =>
      trial({isolation, network, access, folder, port, isLimited}, signal);
    await writeFile(join(folder, 'kept'), 'x');
    const open = await attempt(true, 'rw');
    // What holds everything back holds back the work too.
    if (open === undefined || !open.wrote || !open.connected) return undefined;
    const [readOnly, hidden, limited] = await Promise.all([
      ...[attempt(false, 'ro'), attempt(false, 'none'), attempt(true, 'rw', true)],
    ]);
    const network = readOnly?.connected === false && hidden?.connected === false;
    const workspace = readOnly?.wrote === false && readOnly.read && hidden?.wrote === false && !hidden.read;
    const limits = limited?.allocated === false;
    if (!network && !workspace) return undefined;
    const cgroups = await machineCgroups();
    const resources = cgroups !== undefined && (await holdsTogether({isolation, folder, cgroups}, signal));
    return {isolation, network, workspace, limits, resources};
  } finally {
    server.close();
    await rm(folder, {recursive: true, force: true});
  }
}

interface Trial {
  readonly isolation: Isolation;
  readonly network: boolean;
  readonly access: WorkspaceAccess;
  readonly folder: string;
  readonly port: number;
  readonly isLimited: boolean;
}

/** @returns undefined if it did not come to an end of its own. */
async function trial(
  {isolation, network, access, folder, port, isLimited}: Trial,
  signal: AbortSignal,
): Promise<Escapes | undefined> {
  try {
    const {code, stdout} = await runSandboxed({
      ...{isolation, network, access, workspace: folder, signal, timeoutMs: TRIAL_MS, maxOutputBytes: 1024},
      argv: [process.execPath, '-e', TRIAL, folder, String(port), String(isLimited ? ASKED_BYTES : 0)],
      ...(isLimited ? {limits: {memoryBytes: ALLOWED_BYTES}} : {}),
    });
    return code === 0 ? (JSON.parse(stdout) as Escapes) : undefined;
  } catch {
    signal.throwIfAborted();
    // No such program, or it refuses: the machine has not got this one.
    return undefined;
  }
}

interface Together {
  readonly isolation: Isolation;
  readonly folder: string;
  readonly cgroups: Cgroups;
}

/** Both try to leave their groups first; what is asked for comes last. */
const GREEDY = `
const fs = require('fs');
const [asked, ...ways] = process.argv.slice(1);
for (const way of ways) try { fs.writeFileSync(way, '0'); } catch {}
const kept = [];
for (let had = 0; had < Number(asked); had += ${MB}) kept.push(Buffer.alloc(${MB}, 1));
process.stdout.write('had it');
`;
const LEAVE = 'for way in "$@"; do { echo 0 > "$way"; } 2>/dev/null; done';
const FRUITFUL = `asked=$1; shift; ${LEAVE}
while [ "$asked" -gt 0 ]; do sleep 10 >/dev/null 2>&1 & asked=$((asked - 1)); done; printf 'had it'`;
const BUSY = `asked=$1; shift; ${LEAVE}
while [ "$asked" -gt 0 ]; do asked=$((asked - 1)); done; printf 'had it'`;

const PROCESSES = 16;

/** Whether programs get what they may have together of memory, processes and processor, and no more. */
async function holdsTogether(at: Together, signal: AbortSignal): Promise<boolean> {
  const node = (bytes: number) => [process.execPath, '-e', GREEDY, String(bytes), ...at.cgroups.ways];
  const shell = (script: string, asked: number) => [
    ...['/bin/sh', '-c', script, 'sh', String(asked), ...at.cgroups.ways],
  ];
  const attempt = (argv: readonly string[], limits: GroupLimits) => askFor(at, argv, limits, signal);
  const memory = {memoryBytes: ALLOWED_BYTES / 2};
  const [modest, greedy, few, many, busy] = await Promise.all([
    attempt(node(MB), memory),
    attempt(node(ASKED_BYTES / 2), memory),
    attempt(shell(FRUITFUL, PROCESSES / 4), {processes: PROCESSES}),
    attempt(shell(FRUITFUL, PROCESSES * 2), {processes: PROCESSES}),
    // So little that it has to wait on a machine where everybody does.
    attempt(shell(BUSY, 50_000), {cpuMillicores: 50}),
  ]);
  return (
    [modest, few, busy].every(one => one?.hadIt) &&
    greedy?.hadIt === false &&
    greedy.outOfMemory > 0 &&
    many?.hadIt === false &&
    (busy?.throttled ?? 0) > 0
  );
}

/** @returns undefined if it could not be tried. */
async function askFor(
  {isolation, folder, cgroups}: Together,
  argv: readonly string[],
  limits: GroupLimits,
  signal: AbortSignal,
) {
  try {
    const {result, events} = await runWatched({
      ...{isolation, network: true, access: 'rw', workspace: folder, argv, signal},
      ...{timeoutMs: TRIAL_MS, maxOutputBytes: 1024, together: {cgroups, limits}},
    });
    return {...events, hadIt: result.stdout === 'had it'};
  } catch {
    signal.throwIfAborted();
    // The kernel does not let us make such groups.
    return undefined;
  }
}
