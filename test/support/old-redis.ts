/** A server that speaks just enough of Redis's protocol to say how old it is. */
import {createServer} from 'node:net';

export async function startOldRedis(version: string): Promise<{url: string; stop: () => Promise<void>}> {
  const server = createServer(socket => {
    socket.on('error', () => undefined);
    socket.on('data', data => {
      for (const match of data.toString().matchAll(/\*\d+\r\n\$\d+\r\n([A-Za-z]+)\r\n/g)) {
        const info = `# Server\r\nredis_version:${version}\r\nredis_mode:standalone\r\n`;
        switch (match[1]?.toUpperCase()) {
          case 'HELLO':
            socket.write('-ERR unknown command `HELLO`\r\n');
            break;
          case 'INFO':
            socket.write(`$${info.length}\r\n${info}\r\n`);
            break;
          case 'CLIENT':
            socket.write(':1\r\n');
            break;
          default:
            socket.write('+OK\r\n');
        }
      }
    });
  });
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : 0;
  return {
    url: `redis://127.0.0.1:${port}/0`,
    stop: () => new Promise(resolve => server.close(() => resolve())),
  };
}
