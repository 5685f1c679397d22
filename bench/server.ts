/** Private servers and child processes of the bench, all gone when it ends, however it ends. */
import {startRedisServer, type RedisServer} from '../test/support/redis-server.js';

/** Those that are starting too: a signal may come before the first answer. */
const running = new Set<Promise<RedisServer>>();

/** Aborted when the bench is told to stop; child processes end with it. */
export const interrupted = new AbortController();

/** A fresh server on a free port of the loopback, for as long as `use` takes. */
export async function withServer<T>(use: (url: string) => Promise<T>): Promise<T> {
  const starting = startRedisServer();
  running.add(starting);
  try {
    const server = await starting;
    try {
      return await use(server.url);
    } finally {
      await server.stop();
    }
  } finally {
    running.delete(starting);
  }
}

/** Ctrl-C and kill stop the servers first. */
export function stopServersOnSignal(): void {
  for (const [signal, exitCode] of [
    ['SIGINT', 130],
    ['SIGTERM', 143],
    ['SIGHUP', 129],
  ] as const) {
    process.once(signal, () => {
      interrupted.abort();
      const stopped = [...running].map(async starting => (await starting).stop());
      void Promise.allSettled(stopped).then(() => process.exit(exitCode));
    });
  }
}
