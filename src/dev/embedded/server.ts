/** The listener: sockets in, commands to the store, replies out. */
import {createServer, type Server, type Socket} from 'node:net';
import type {AddressInfo} from 'node:net';
import {Client} from './client.js';
import {EmbeddedRedis} from './embedded-store.js';
import {ProtocolError, RequestParser} from './resp.js';
import {ErrorReply} from './reply.js';

const HOST = '127.0.0.1';
/** Keys removed in one go when their time has come, so that many at once do not hold everyone up. */
const EXPIRE_AT_ONCE = 500;
const MAX_TIMER_MS = 2 ** 31 - 1;
/** A subscriber that does not read is cut off, as Redis does. */
const MAX_UNREAD_BYTES = 64 * 1024 * 1024;

export interface RunningServer {
  readonly port: number;
  close(): Promise<void>;
}

interface Connection {
  readonly client: Client;
  readonly socket: Socket;
  readonly parser: RequestParser;
}

/**
 * Start listening on loopback.
 *
 * @param port 0 takes any free one.
 * @throws The system's error if the port cannot be had (EADDRINUSE).
 */
export async function serve(port: number, maxMemoryBytes: number): Promise<RunningServer> {
  const listener = new Listener(maxMemoryBytes);
  await listener.store.start();
  await listener.listen(port);
  return {port: listener.store.port, close: () => listener.close()};
}

class Listener {
  readonly store: EmbeddedRedis;
  private readonly server: Server;
  private readonly connections = new Map<Client, Connection>();
  /** Clients with something to send. */
  private readonly unsent = new Set<Client>();
  /** Clients that were answered while blocked and may have sent more. */
  private readonly woken: Client[] = [];
  private isInTurn = false;
  private expiryTimer: NodeJS.Timeout | undefined;
  private expiryAt = Infinity;
  private lastId = 0;

  constructor(maxMemoryBytes: number) {
    this.store = new EmbeddedRedis(maxMemoryBytes, client => {
      this.woken.push(client);
      // Between turns this was a timer; inside one the turn itself goes on with them.
      if (!this.isInTurn) queueMicrotask(() => this.turn(() => undefined));
    });
    this.server = createServer({noDelay: true}, socket => this.accept(socket));
  }

  async listen(port: number): Promise<void> {
    await new Promise<void>((resolve, reject) => {
      this.server.once('error', reject);
      this.server.listen({host: HOST, port}, () => {
        this.server.off('error', reject);
        resolve();
      });
    });
    this.store.port = (this.server.address() as AddressInfo).port;
    this.store.config.set('port', String(this.store.port));
  }

  async close(): Promise<void> {
    clearTimeout(this.expiryTimer);
    const closed = new Promise<void>(resolve => {
      this.server.close(() => resolve());
    });
    for (const {socket} of this.connections.values()) socket.destroy();
    await closed;
  }

  private accept(socket: Socket): void {
    const id = ++this.lastId;
    const {store} = this;
    const client = new Client(
      id,
      `${socket.remoteAddress ?? HOST}:${socket.remotePort ?? 0}`,
      `${HOST}:${store.port}`,
      store.firstDatabase,
      Date.now(),
      other => this.unsent.add(other),
      () => socket.destroy(),
    );
    const connection = {client, socket, parser: new RequestParser()};
    this.connections.set(client, connection);
    store.clients.set(id, client);
    store.totalConnections++;
    socket.on('data', chunk => this.turn(() => this.read(connection, chunk)));
    // A reset by the peer is an ordinary end; 'close' follows.
    socket.on('error', () => socket.destroy());
    socket.on('close', () => {
      this.connections.delete(client);
      this.unsent.delete(client);
      store.forget(client);
    });
  }

  private read({client, socket, parser}: Connection, chunk: Buffer): void {
    try {
      parser.feed(chunk, args => {
        if (client.isClosing) return;
        if (isHttp(args)) {
          // A web page in a browser can reach loopback too; nothing it sends is executed.
          client.isClosing = true;
          socket.destroy();
          return;
        }
        if (client.waiter !== undefined || client.backlog.length > 0) client.backlog.push(args);
        else this.store.execute(client, args);
      });
    } catch (error) {
      client.isClosing = true;
      if (error instanceof ProtocolError) {
        client.send(new ErrorReply(`ERR Protocol error: ${error.message}`));
        return;
      }
      // A reply beyond what JavaScript can hold, or a bug here: it costs this connection, not the store.
      process.emitWarning(error instanceof Error ? error : String(error));
      socket.destroy();
    }
  }

  /** One look at the world: run something, let those it woke go on, then write every reply at once. */
  private turn(work: () => void): void {
    this.isInTurn = true;
    this.store.shared.now = Date.now();
    try {
      work();
      for (let client = this.woken.shift(); client !== undefined; client = this.woken.shift()) {
        while (client.waiter === undefined && !client.isClosing) {
          const args = client.backlog.shift();
          if (args === undefined) break;
          this.store.execute(client, args);
        }
      }
    } finally {
      this.isInTurn = false;
      this.flush();
      this.scheduleExpiry();
    }
  }

  private flush(): void {
    for (const client of this.unsent) {
      const socket = this.connections.get(client)?.socket;
      const {out} = client;
      client.out = '';
      if (socket === undefined || socket.destroyed) continue;
      if (client.isClosing) {
        socket.end(out, 'latin1');
      } else {
        socket.write(out, 'latin1');
        if (client.isSubscribed && socket.writableLength > MAX_UNREAD_BYTES) socket.destroy();
      }
    }
    this.unsent.clear();
  }

  private scheduleExpiry(): void {
    const next = this.store.shared.expiry.nextAt() ?? Infinity;
    if (next >= this.expiryAt) return;
    clearTimeout(this.expiryTimer);
    this.expiryAt = next;
    const delay = Math.max(1, Math.min(next - Date.now() + 1, MAX_TIMER_MS));
    this.expiryTimer = setTimeout(() => {
      this.expiryAt = Infinity;
      this.turn(() => this.store.expireSome(EXPIRE_AT_ONCE));
    }, delay);
  }
}

function isHttp([first = '']: readonly string[]): boolean {
  return (first.length === 4 || first.length === 5) && /^(post|host:)$/i.test(first);
}
