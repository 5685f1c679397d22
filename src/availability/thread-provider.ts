/**
 * A user's provider in a thread of its own. Code that never gives control back would stop the whole manager, with every
 * other agent type; so a thread that is silent after the time of one of its calls is over is ended, with all it was asked,
 * and the next wakeup starts it anew. An error nobody catches, and `process.exit`, end the thread and not the manager.
 */
import type {Worker} from 'node:worker_threads';
import {startThread} from '../config/start-thread.js';
import {ByError, messageOf} from '../errors.js';
import type {WakeupRequest} from '../protocol/wakeup.js';
import type {Provider, ProviderContext, ProviderDecision} from './provider.js';
import type {FromThread, ToThread} from './thread-messages.js';

export interface ThreadProviderOptions {
  /** Milliseconds the file may take to load. Default 30,000. */
  readonly loadMs?: number;
  /** Milliseconds the thread may be silent after the time of a call is over. Default 5,000. */
  readonly silentMs?: number;
}

/** @throws {ByError} PROVIDER_LOAD_FAILED, naming the file and what is wrong with it. */
export async function threadProvider(file: string, options: ThreadProviderOptions = {}): Promise<Provider> {
  let thread = new ProviderThread(file, options);
  const name = await thread.loaded;
  return {
    name,
    wakeup(request, context) {
      if (thread.hasEnded) thread = new ProviderThread(file, options);
      return thread.wakeup(request, context);
    },
    close: () => thread.close(),
  };
}

interface Call {
  readonly context: ProviderContext;
  readonly resolve: (answer: ProviderDecision) => void;
  readonly reject: (error: Error) => void;
  readonly onAbort: () => void;
}

class ProviderThread {
  /** The provider's name. */
  readonly loaded: Promise<string>;
  hasEnded = false;
  private readonly worker: Worker;
  private readonly calls = new Map<number, Call>();
  private readonly silentMs: number;
  private lastCall = 0;
  /** Ends the thread unless it is heard of. */
  private watchdog: NodeJS.Timeout | undefined;
  private onLoaded: (name: string) => void = () => undefined;
  private onUnusable: (error: Error) => void = () => undefined;
  private onClosed: (message: string) => void = () => undefined;

  constructor(
    private readonly file: string,
    {loadMs = 30_000, silentMs = 5000}: ThreadProviderOptions,
  ) {
    this.silentMs = silentMs;
    this.loaded = new Promise<string>((resolve, reject) => {
      this.onLoaded = resolve;
      this.onUnusable = reject;
    });
    // Whoever calls is told too.
    this.loaded.catch(() => undefined);
    this.worker = startThread('src/availability/provider-thread', {workerData: {file}});
    this.worker.on('message', (message: FromThread) => this.hear(message));
    this.worker.on('error', error => this.end(`its thread ended: ${messageOf(error)}`));
    this.worker.on('exit', () => this.end('its thread ended'));
    this.watch(loadMs, `it did not load within ${loadMs} ms`);
  }

  async wakeup(request: WakeupRequest, context: ProviderContext): Promise<ProviderDecision> {
    await this.loaded;
    return new Promise((resolve, reject) => {
      if (this.hasEnded) {
        reject(new Error('its thread ended'));
        return;
      }
      const call = ++this.lastCall;
      const onAbort = () => {
        this.tell({kind: 'abort', call});
        this.ping();
      };
      this.calls.set(call, {context, resolve, reject, onAbort});
      this.tell({kind: 'wakeup', call, request});
      if (context.signal.aborted) onAbort();
      else context.signal.addEventListener('abort', onAbort, {once: true});
    });
  }

  /** Let the provider end what it started, for as long as it is heard of; then end its thread. */
  async close(): Promise<void> {
    if (this.hasEnded) return;
    const closed = new Promise<string>(resolve => (this.onClosed = resolve));
    this.worker.ref();
    this.tell({kind: 'close'});
    const pings = setInterval(() => this.ping(), this.silentMs);
    const message = await closed;
    clearInterval(pings);
    this.stopWatching();
    await this.worker.terminate();
    if (message !== '') throw new Error(message);
  }

  private hear(message: FromThread): void {
    this.stopWatching();
    switch (message.kind) {
      case 'loaded':
        // A program that is done must not be kept.
        this.worker.unref();
        this.onLoaded(message.name);
        break;
      case 'unusable':
        this.onUnusable(new ByError('PROVIDER_LOAD_FAILED', message.message, {hint: message.hint}));
        this.end(message.message);
        break;
      case 'answered':
        // The runner reads it as it reads any provider's.
        this.settle(message.call)?.resolve(message.answer as ProviderDecision);
        break;
      case 'threw':
        this.settle(message.call)?.reject(new Error(message.message));
        break;
      case 'asks':
        void this.answer(message);
        break;
      case 'closed':
        this.onClosed(message.message);
        break;
      case 'pong':
        break;
    }
  }

  private async answer({call, question, what}: Extract<FromThread, {kind: 'asks'}>): Promise<void> {
    try {
      const context = this.calls.get(call)?.context;
      if (context === undefined) throw new Error('its time is over');
      const value = await (what === 'isOnline' ? context.isOnline() : (context.onlineWorkers?.() ?? []));
      this.tell({kind: 'told', question, value, error: ''});
    } catch (error) {
      this.tell({kind: 'told', question, value: undefined, error: messageOf(error) || 'unknown'});
    }
  }

  private settle(call: number): Call | undefined {
    const found = this.calls.get(call);
    found?.context.signal.removeEventListener('abort', found.onAbort);
    this.calls.delete(call);
    return found;
  }

  private ping(): void {
    if (this.watchdog !== undefined || this.hasEnded) return;
    this.tell({kind: 'ping'});
    this.watch(
      this.silentMs,
      `it gave no control back for ${this.silentMs} ms after its time, and was ended`,
    );
  }

  private watch(ms: number, reason: string): void {
    this.watchdog = setTimeout(() => {
      this.end(reason);
      void this.worker.terminate();
    }, ms);
  }

  private stopWatching(): void {
    clearTimeout(this.watchdog);
    this.watchdog = undefined;
  }

  private end(reason: string): void {
    if (this.hasEnded) return;
    this.hasEnded = true;
    this.stopWatching();
    this.onUnusable(
      new ByError('PROVIDER_LOAD_FAILED', `${this.file} can not be used: ${reason}.`, {
        hint: 'Correct the file; `by provider check` tries it.',
      }),
    );
    for (const call of [...this.calls.keys()]) this.settle(call)?.reject(new Error(reason));
    this.onClosed('');
  }

  private tell(message: ToThread): void {
    if (!this.hasEnded) this.worker.postMessage(message);
  }
}
