/** A TCP proxy that misbehaves on demand, between a client and a server of ours. */
import {connect, createServer, type Socket} from 'node:net';

export interface FaultProxy {
  /** The server's address through the proxy. */
  readonly url: string;
  /** Break every connection that stands. */
  cut(): void;
  /** Half open: connections stand, and nothing comes through in either direction, until {@link heal}. */
  silence(): void;
  /** Pass everything on this much later, in order, until {@link heal}. */
  delay(ms: number): void;
  /** Pass commands on, but drop what the server answers, until {@link heal}. */
  loseReplies(): void;
  heal(): void;
  close(): Promise<void>;
  /** Connections accepted so far. */
  readonly accepted: number;
}

export async function startFaultProxy(serverUrl: string): Promise<FaultProxy> {
  const target = new URL(serverUrl);
  const sockets = new Set<Socket>();
  let mode: 'pass' | 'silent' | 'deaf' = 'pass';
  let delayMs = 0;
  let accepted = 0;
  /** For each socket, what is on its way to it: nothing may overtake. */
  const onTheWay = new WeakMap<Socket, Promise<void>>();
  const passOn = (to: Socket, data: Buffer) => {
    const before = onTheWay.get(to);
    if (delayMs === 0 && before === undefined) {
      to.write(data);
      return;
    }
    const late = new Promise(resolve => setTimeout(resolve, delayMs));
    const arrived = Promise.all([before, late]).then(() => {
      if (to.writable) to.write(data);
      if (onTheWay.get(to) === arrived) onTheWay.delete(to);
    });
    onTheWay.set(to, arrived);
  };
  const server = createServer(client => {
    accepted++;
    const upstream = connect(Number(target.port), target.hostname);
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on('error', () => undefined);
      socket.on('close', () => {
        sockets.delete(socket);
        client.destroy();
        upstream.destroy();
      });
    }
    client.on('data', data => {
      if (mode !== 'silent') passOn(upstream, data);
    });
    upstream.on('data', data => {
      if (mode === 'pass') passOn(client, data);
    });
  });
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  const cut = () => {
    for (const socket of sockets) socket.destroy();
  };
  return {
    url: `redis://127.0.0.1:${port}${target.pathname}`,
    cut,
    silence: () => (mode = 'silent'),
    loseReplies: () => (mode = 'deaf'),
    delay: ms => (delayMs = ms),
    heal: () => {
      mode = 'pass';
      delayMs = 0;
    },
    async close() {
      cut();
      await new Promise(resolve => server.close(resolve));
    },
    get accepted() {
      return accepted;
    },
  };
}
