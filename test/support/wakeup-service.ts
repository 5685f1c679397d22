/** A service that starts workers, as its owner would write it: HTTPS with a certificate made for this one test. */
import {execFileSync} from 'node:child_process';
import {mkdtempSync, readFileSync, rmSync} from 'node:fs';
import {createServer as createHttpServer, type IncomingMessage, type ServerResponse} from 'node:http';
import {createServer} from 'node:https';
import {tmpdir} from 'node:os';
import {join} from 'node:path';

export interface Certificate {
  readonly key: string;
  readonly cert: string;
}

/** @throws if openssl is not on the PATH: tests must not pass by not running. */
export function makeCertificate(...names: readonly string[]): Certificate {
  const dir = mkdtempSync(join(tmpdir(), 'by-cert-'));
  const [key, cert] = [join(dir, 'key.pem'), join(dir, 'cert.pem')];
  const subject = ['-subj', '/CN=by-test', '-addext', `subjectAltName=${names.join(',')}`];
  const kind = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '1'];
  try {
    execFileSync('openssl', ['req', '-x509', ...kind, ...subject, '-keyout', key, '-out', cert], {
      stdio: 'ignore',
    });
    return {key: readFileSync(key, 'utf8'), cert: readFileSync(cert, 'utf8')};
  } catch (error) {
    throw new Error('The tests of the HTTP provider need openssl on the PATH.', {cause: error});
  } finally {
    rmSync(dir, {recursive: true, force: true});
  }
}

export interface Received {
  readonly url: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}

export interface WakeupService {
  readonly port: number;
  readonly received: readonly Received[];
  stop(): Promise<void>;
}

/** @param tls without it the service speaks plain HTTP. */
export async function startWakeupService(
  answer: (response: ServerResponse, request: Received) => void,
  tls?: Certificate,
): Promise<WakeupService> {
  const received: Received[] = [];
  const onRequest = (request: IncomingMessage, response: ServerResponse) => {
    let body = '';
    request.setEncoding('utf8').on('data', (text: string) => (body += text));
    request.on('end', () => {
      const one = {url: request.url ?? '', headers: request.headers, body};
      received.push(one);
      answer(response, one);
    });
  };
  const server = tls === undefined ? createHttpServer(onRequest) : createServer(tls, onRequest);
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  return {
    port: typeof address === 'object' && address !== null ? address.port : 0,
    received,
    async stop() {
      server.closeAllConnections();
      await new Promise(resolve => server.close(resolve));
    },
  };
}
