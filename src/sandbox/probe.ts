/**
 * What this machine can hold a program to, found out by trying to break out: that a program is installed proves
 * nothing. A sandbox in which the trial reaches the network, or writes where it may not, is not one.
 */
import {mkdtemp, rm, writeFile} from 'node:fs/promises';
import {createServer, type AddressInfo} from 'node:net';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import type {SandboxAbilities} from '../protocol/orchestration/abilities.js';
import type {Isolation, WorkspaceAccess} from './command-line.js';
import {runSandboxed} from './run.js';

export const NO_SANDBOX: SandboxAbilities = {
  ...{isolation: 'none', network: false, workspace: false, limits: false},
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
setTimeout(() => say(false), 2000);
`;

/** Milliseconds a trial may take; one that hangs is none that holds. */
const TRIAL_MS = 10_000;

/**
 * Takes some tenths of a second and starts a few processes: once for a worker is enough.
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
    return network || workspace ? {isolation, network, workspace, limits} : undefined;
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
