/** A whole stack for a test: store, worker, client. Nothing has to be installed. */
import {randomBytes} from 'node:crypto';
import {GatewayClient} from '../client/client.js';
import {followExecution} from '../client/follow-execution.js';
import type {SendRequest} from '../availability/send.js';
import {startEmbeddedStore} from '../dev/embedded/start.js';
import {silentLogger} from '../log.js';
import {eventKind, eventText, type DataEvent} from '../protocol/events.js';
import {openStore, type Store} from '../store/store.js';
import type {Agent} from '../worker/agent.js';
import {startWorker, type WorkerOptions} from '../worker/runner.js';

export interface TestStackOptions {
  readonly agents: readonly Agent[];
  /** A server to use in place of the embedded store; its keys get a prefix of their own. */
  readonly redisUrl?: string;
  /** Executions at once. Default 50. */
  readonly concurrency?: number;
  readonly plugins?: WorkerOptions['plugins'];
  readonly pluginSettings?: WorkerOptions['pluginSettings'];
}

export interface TestRun {
  readonly sessionId: string;
  readonly messageId: string;
  readonly executionId: string;
  /** Events so far; all of them once {@link status} has resolved. */
  readonly events: readonly DataEvent[];
  /** The answer: the final one, or the chunks joined. Waits for the end. */
  text(): Promise<string>;
  /** How it ended. Waits for the end. */
  status(): Promise<string>;
  /** Resolves with the first event that fits; rejects if the end comes without one. */
  waitFor(fits: (event: DataEvent) => boolean): Promise<DataEvent>;
  cancel(reason?: string): Promise<void>;
}

export interface TestStack {
  readonly url: string;
  readonly store: Store;
  readonly client: GatewayClient;
  send(agentType: string, content: SendRequest['content'], request?: Partial<SendRequest>): Promise<TestRun>;
  close(): Promise<void>;
}

/** Start a stack with these agents; close it when the test is over. */
export async function createTestStack(options: TestStackOptions): Promise<TestStack> {
  const embedded = options.redisUrl === undefined ? await startEmbeddedStore() : undefined;
  const url = options.redisUrl ?? embedded?.url ?? '';
  const store = openStore({url, name: 'by-test', prefix: `test:${randomBytes(6).toString('hex')}:`});
  const client = new GatewayClient(store);
  const worker = await startWorker(store, {
    agents: options.agents,
    log: silentLogger,
    ...(options.concurrency === undefined ? {} : {concurrency: options.concurrency}),
    ...(options.plugins === undefined ? {} : {plugins: options.plugins}),
    ...(options.pluginSettings === undefined ? {} : {pluginSettings: options.pluginSettings}),
  });
  return {
    url,
    store,
    client,
    async send(agentType, content, request = {}) {
      const sent = await client.send({...request, agentType, content});
      return watchRun(client, sent);
    },
    async close() {
      await worker.stop({drainMs: 1000});
      store.close();
      await embedded?.close();
    },
  };
}

function watchRun(
  client: GatewayClient,
  sent: {sessionId: string; messageId: string; executionId: string},
): TestRun {
  const events: DataEvent[] = [];
  const listeners = new Set<() => void>();
  let ended = false;
  const end = (async () => {
    const following = followExecution(client.store, sent);
    for (;;) {
      const next = await following.next();
      if (next.done) return next.value?.status ?? 'UNKNOWN';
      if (next.value.kind === 'event') events.push(next.value.event);
      for (const listener of listeners) listener();
    }
  })();
  const settled = end.finally(() => {
    ended = true;
    for (const listener of listeners) listener();
  });
  // Whoever awaits a result sees the failure; nobody awaiting must not end the test process.
  settled.catch(() => undefined);
  return {
    sessionId: sent.sessionId,
    messageId: sent.messageId,
    executionId: sent.executionId,
    events,
    async text() {
      await settled;
      const final = events.find(event => eventKind(event) === 'final');
      if (final) return eventText(final);
      return events
        .filter(event => eventKind(event) === 'answer')
        .map(eventText)
        .join('');
    },
    status: () => settled,
    waitFor(fits) {
      return new Promise((resolve, reject) => {
        const look = () => {
          const found = events.find(fits);
          if (found) resolve(found);
          else if (ended) reject(new Error('the run ended without such an event'));
          else return;
          listeners.delete(look);
        };
        listeners.add(look);
        look();
      });
    },
    async cancel(reason = '') {
      await client.cancel({...sent, reason});
    },
  };
}
