/** The worker thread's entry: serves until told to stop. */
import {parentPort, workerData} from 'node:worker_threads';
import {serve} from './server.js';

/** What the thread is started with. */
export interface ThreadOptions {
  readonly port: number;
  readonly maxMemoryBytes: number;
}

/** What the thread says once. */
export type ThreadMessage =
  | {readonly kind: 'listening'; readonly port: number}
  | {readonly kind: 'failed'; readonly code: string | undefined; readonly message: string};

const {port, maxMemoryBytes} = workerData as ThreadOptions;

function say(message: ThreadMessage): void {
  parentPort?.postMessage(message);
}

try {
  const server = await serve(port, maxMemoryBytes);
  // The only message there is: stop.
  parentPort?.once('message', () => {
    void server.close().then(() => process.exit(0));
  });
  say({kind: 'listening', port: server.port});
} catch (error) {
  const {code, message} = error as NodeJS.ErrnoException;
  say({kind: 'failed', code, message});
}
