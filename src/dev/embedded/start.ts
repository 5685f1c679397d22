/**
 * The embedded store: Redis's protocol with nothing installed, for `by dev`, demos and tests. It runs in a thread of its
 * own, so that it answers while the code that uses it computes.
 */
import type {Worker} from 'node:worker_threads';
import {startThread} from '../../config/start-thread.js';
import type {ThreadMessage, ThreadOptions} from './thread.js';

/** A running store. Nothing it holds outlives it. */
export interface EmbeddedStore {
  /** `redis://127.0.0.1:PORT/0`. */
  readonly url: string;
  readonly port: number;
  /** End all connections and the thread. */
  close(): Promise<void>;
}

export interface EmbeddedStoreOptions {
  /** 0, the default, takes any free port. */
  readonly port?: number;
  /** Writes are refused when the estimated memory passes this. 512 MiB by default. */
  readonly maxMemoryBytes?: number;
}

const DEFAULT_MAX_MEMORY_BYTES = 512 * 1024 * 1024;
const MIB = 1024 * 1024;
/** Objects cost more than the estimate, and garbage has to lie somewhere. */
const HEAP_FACTOR = 3;
const HEAP_BASE_MIB = 512;

/**
 * Start a store on 127.0.0.1. It does not keep the process alive.
 *
 * @throws An error with code EADDRINUSE if the port is taken.
 */
export async function startEmbeddedStore(options: EmbeddedStoreOptions = {}): Promise<EmbeddedStore> {
  const {port = 0, maxMemoryBytes = DEFAULT_MAX_MEMORY_BYTES} = options;
  const thread = startStore({port, maxMemoryBytes});
  const ended = new Promise<void>(resolve => {
    thread.once('exit', () => resolve());
  });
  let message: ThreadMessage;
  try {
    message = await new Promise<ThreadMessage>((resolve, reject) => {
      thread.once('message', resolve);
      thread.once('error', reject);
      thread.once('exit', code =>
        reject(new Error(`The embedded store ended with code ${code} before it listened.`)),
      );
    });
  } catch (error) {
    await thread.terminate();
    throw error;
  }
  if (message.kind === 'failed') {
    await thread.terminate();
    throw Object.assign(new Error(message.message), {code: message.code});
  }
  // Whoever uses the store keeps the process alive, not the store.
  thread.unref();
  const {port: listening} = message;
  return {
    url: `redis://127.0.0.1:${listening}/0`,
    port: listening,
    close: async () => {
      thread.ref();
      thread.postMessage('stop');
      await ended;
    },
  };
}

function startStore(workerData: ThreadOptions): Worker {
  const resourceLimits = {
    maxOldGenerationSizeMb: Math.ceil((HEAP_FACTOR * workerData.maxMemoryBytes) / MIB) + HEAP_BASE_MIB,
  };
  return startThread('src/dev/embedded/thread', {workerData, resourceLimits});
}
