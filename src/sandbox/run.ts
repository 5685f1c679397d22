/** Runs one program in a sandbox and keeps what it said, within bounds. */
import {spawn} from 'node:child_process';
import {ByError} from '../errors.js';
import type {Cgroups, Group, GroupEvents, GroupLimits} from './cgroups.js';
import {inGroup, sandboxCommand, type SandboxRequest} from './command-line.js';

export interface RunRequest extends SandboxRequest {
  /** All the program is given of an environment, beside PATH, HOME (the workspace) and LANG. */
  readonly env?: Readonly<Record<string, string>>;
  /** Given to the program, then its end. Default: nothing. */
  readonly stdin?: string;
  /** Milliseconds until it is ended. */
  readonly timeoutMs: number;
  /** Bytes kept of stdout, and of stderr; what comes after is read and let go. */
  readonly maxOutputBytes: number;
  readonly signal: AbortSignal;
  /** What it and all it starts may use together. */
  readonly together?: {readonly cgroups: Cgroups; readonly limits: GroupLimits};
}

export interface RunResult {
  /** null if a signal ended it. */
  readonly code: number | null;
  readonly signal: string | null;
  readonly stdout: string;
  readonly stderr: string;
  /** It said more than was kept. */
  readonly isTruncated: boolean;
  /** Ended by us, because its time was over. */
  readonly isTimedOut: boolean;
  /** Something of it was killed because its memory was used up. Known only where its resources are limited by groups. */
  readonly isOutOfMemory: boolean;
}

/** From the request to stop until there is no choice. */
const GRACE_MS = 2000;
/** Where programs are looked for: not in folders that agents may write to. */
export const PROGRAM_PATH = '/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin';

/** @throws {ByError} NOT_FOUND if the program can not be started; the signal's reason if it aborts. */
export async function runSandboxed(request: RunRequest): Promise<RunResult> {
  const {result, events} = await runWatched(request);
  return {...result, isOutOfMemory: events.outOfMemory > 0};
}

const NOTHING: GroupEvents = {outOfMemory: 0, throttled: 0};

/** As {@link runSandboxed}, with what its groups have counted. */
export async function runWatched(
  request: RunRequest,
): Promise<{readonly result: Omit<RunResult, 'isOutOfMemory'>; readonly events: GroupEvents}> {
  const {together, signal} = request;
  signal.throwIfAborted();
  if (together === undefined) return {result: await run(request), events: NOTHING};
  const {cgroups, limits} = together;
  const group = await cgroups.create(limits);
  try {
    const hide = [...(request.hide ?? []), ...cgroups.mounts];
    return {result: await run({...request, hide}, group), events: await group.events()};
  } finally {
    await group.remove();
  }
}

async function run(request: RunRequest, group?: Group): Promise<Omit<RunResult, 'isOutOfMemory'>> {
  const {workspace, signal} = request;
  const command = sandboxCommand(request);
  const [program = '', ...args] = group === undefined ? command : inGroup(group.entries, command);
  const child = spawn(program, args, {
    cwd: workspace,
    env: {PATH: PROGRAM_PATH, HOME: workspace, LANG: 'C.UTF-8', ...request.env},
    // A group of its own, so that what it starts ends with it.
    detached: true,
    stdio: ['pipe', 'pipe', 'pipe'],
  });
  const end = (name: NodeJS.Signals) => {
    try {
      if (child.pid !== undefined) process.kill(-child.pid, name);
    } catch {
      // It has ended by itself.
    }
  };
  let isTimedOut = false;
  let forced: NodeJS.Timeout | undefined;
  const stop = () => {
    end('SIGTERM');
    forced ??= setTimeout(() => end('SIGKILL'), GRACE_MS);
  };
  const timer = setTimeout(() => {
    isTimedOut = true;
    stop();
  }, request.timeoutMs);
  signal.addEventListener('abort', stop, {once: true});
  const stdout = new Kept(request.maxOutputBytes);
  const stderr = new Kept(request.maxOutputBytes);
  child.stdout.on('data', (chunk: Buffer) => stdout.add(chunk));
  child.stderr.on('data', (chunk: Buffer) => stderr.add(chunk));
  // A program that does not read what it is given is not an error.
  child.stdin.on('error', () => undefined);
  child.stdin.end(request.stdin ?? '');
  try {
    const [code, endedBy] = await new Promise<[number | null, string | null]>((resolve, reject) => {
      child.once('error', reject);
      child.once('close', (...ended) => resolve(ended));
    });
    signal.throwIfAborted();
    return {
      ...{code, signal: endedBy, stdout: stdout.text, stderr: stderr.text},
      ...{isTruncated: stdout.isFull || stderr.isFull, isTimedOut},
    };
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error;
    throw new ByError('NOT_FOUND', `There is no program "${program}".`, {
      hint: 'Install it where the worker runs, or name another one.',
      cause: error,
    });
  } finally {
    clearTimeout(timer);
    clearTimeout(forced);
    signal.removeEventListener('abort', stop);
    // What it left running in its group; in a sandbox nothing is left.
    end('SIGKILL');
  }
}

class Kept {
  private readonly chunks: Buffer[] = [];
  private size = 0;
  isFull = false;

  constructor(private readonly limit: number) {}

  add(chunk: Buffer): void {
    const room = this.limit - this.size;
    if (chunk.length > room) this.isFull = true;
    if (room <= 0) return;
    this.chunks.push(chunk.subarray(0, room));
    this.size += Math.min(chunk.length, room);
  }

  get text(): string {
    return Buffer.concat(this.chunks).toString('utf8');
  }
}
