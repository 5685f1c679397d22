/** Child processes by name: started once each, watched, and none left behind. */
import {spawn, type ChildProcess} from 'node:child_process';
import {sleep} from '../clock.js';
import {messageOf} from '../errors.js';

export interface StartCommand {
  /** Which process this is: asking for the same name again starts nothing while it runs. */
  readonly name: string;
  readonly file: string;
  readonly args: readonly string[];
  readonly cwd?: string;
  /** Default: this process's environment. */
  readonly env?: NodeJS.ProcessEnv;
}

export interface ProcessPoolOptions {
  /** Gets every line a process prints. */
  onLine?(name: string, line: string): void;
  /** Told when a process has ended; `expected` if we ended it. */
  onExit?(name: string, code: number | null, expected: boolean): void;
  /** Milliseconds a process gets after SIGTERM. Default 10,000. */
  readonly stopMs?: number;
}

/** What a failed start printed last goes into the reason. */
const KEPT_LINES = 5;

export class StartedProcess {
  readonly lastLines: string[] = [];
  /** Set once it has ended, in words. */
  failure: string | undefined;
  stopping = false;

  constructor(readonly child: ChildProcess) {}

  get ended(): boolean {
    return this.failure !== undefined;
  }
}

export class ProcessPool {
  private readonly running = new Map<string, StartedProcess>();
  private closed = false;
  /** A forced exit leaves no time for stopping: then nothing may outlive us. */
  private readonly onProcessExit = () => {
    for (const {child} of this.running.values()) child.kill('SIGKILL');
  };

  constructor(private readonly options: ProcessPoolOptions = {}) {}

  /** The process of that name: the one that runs, or a new one. */
  ensure(command: StartCommand): StartedProcess {
    const known = this.running.get(command.name);
    return known && !known.ended && !known.stopping ? known : this.start(command);
  }

  has(name: string): boolean {
    return this.running.has(name);
  }

  /** Ends with SIGTERM, and with SIGKILL when that was not enough. */
  async stop(name: string): Promise<void> {
    const started = this.running.get(name);
    if (started) await this.end(started);
  }

  async close(): Promise<void> {
    this.closed = true;
    await Promise.all([...this.running.values()].map(started => this.end(started)));
  }

  private start(command: StartCommand): StartedProcess {
    if (this.closed) throw new Error('this pool is closed');
    const {name, file, args} = command;
    const child = spawn(file, args, {
      cwd: command.cwd,
      env: command.env ?? process.env,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    const started = new StartedProcess(child);
    const onLine = (line: string) => {
      started.lastLines.push(line);
      if (started.lastLines.length > KEPT_LINES) started.lastLines.shift();
      this.options.onLine?.(name, line);
    };
    eachLine(child.stdout, onLine);
    eachLine(child.stderr, onLine);
    const onEnd = (failure: string, code: number | null) => {
      if (started.ended) return;
      started.failure = failure;
      if (this.running.get(name) === started) this.running.delete(name);
      if (this.running.size === 0) process.removeListener('exit', this.onProcessExit);
      this.options.onExit?.(name, code, started.stopping);
    };
    child.on('error', error => onEnd(`${file} can not be started: ${messageOf(error)}`, null));
    // 'close', not 'exit': by then its last lines have been read.
    child.on('close', (code, signal) =>
      onEnd(`it ended with ${code === null ? String(signal) : `code ${code}`}`, code),
    );
    if (this.running.size === 0) process.on('exit', this.onProcessExit);
    this.running.set(name, started);
    return started;
  }

  private async end(started: StartedProcess): Promise<void> {
    const {child} = started;
    if (started.ended) return;
    started.stopping = true;
    const closed = new Promise<void>(resolve => child.once('close', () => resolve()));
    child.kill('SIGTERM');
    const timer = new AbortController();
    const late = sleep(this.options.stopMs ?? 10_000, timer.signal).then(() => {
      if (!timer.signal.aborted) child.kill('SIGKILL');
    });
    await Promise.race([closed, late]);
    timer.abort();
    await closed;
  }
}

function eachLine(stream: NodeJS.ReadableStream | null, onLine: (line: string) => void): void {
  let rest = '';
  stream?.setEncoding('utf8');
  stream?.on('data', (text: string) => {
    const lines = (rest + text).split('\n');
    rest = lines.pop() ?? '';
    for (const line of lines) onLine(line);
  });
  stream?.on('end', () => {
    if (rest !== '') onLine(rest);
  });
}
