/** The part of a Kubernetes API server that scales a Deployment, as the API documents it. */
import {createServer as createHttpServer, type IncomingMessage, type ServerResponse} from 'node:http';
import {createServer} from 'node:https';
import type {Certificate} from './wakeup-service.js';

export interface FakeKubernetes {
  readonly port: number;
  /** Replicas of the Deployments, by `namespace/name`. */
  readonly replicas: Map<string, number>;
  /** What was asked: `METHOD path`, and the authorization that came with it. */
  readonly asked: {readonly what: string; readonly authorization: string; readonly body: string}[];
  /** The bearer token it knows. */
  token: string;
  /** Told before a request is answered. */
  before: (what: string) => void;
  /** Scales as somebody else would. */
  scale(place: string, replicas: number): void;
  stop(): Promise<void>;
}

const PATH = /^\/apis\/apps\/v1\/namespaces\/([^/]+)\/deployments\/([^/]+)\/scale$/;

/** @param tls without it the server speaks plain HTTP. */
export async function startFakeKubernetes(tls?: Certificate): Promise<FakeKubernetes> {
  let version = 100;
  const onRequest = (request: IncomingMessage, response: ServerResponse) => {
    let body = '';
    request.setEncoding('utf8').on('data', (text: string) => (body += text));
    request.on('end', () => answer(request, body, response));
  };
  const server = tls === undefined ? createHttpServer(onRequest) : createServer(tls, onRequest);
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  const api: FakeKubernetes = {
    port: typeof address === 'object' && address !== null ? address.port : 0,
    replicas: new Map(),
    asked: [],
    token: 'token-1',
    before: () => undefined,
    scale(place, replicas) {
      api.replicas.set(place, replicas);
      version++;
    },
    async stop() {
      server.closeAllConnections();
      await new Promise(resolve => server.close(resolve));
    },
  };

  function answer(request: IncomingMessage, body: string, response: ServerResponse): void {
    const {method = '', url = '', headers} = request;
    api.before(`${method} ${url}`);
    const authorization = headers.authorization ?? '';
    api.asked.push({what: `${method} ${url}`, authorization, body});
    const say = (status: number, doc: object) =>
      void response.writeHead(status, {'content-type': 'application/json'}).end(JSON.stringify(doc));
    const refuse = (code: number, message: string) =>
      say(code, {kind: 'Status', status: 'Failure', message, code});
    if (authorization !== `Bearer ${api.token}`) {
      refuse(401, 'Unauthorized');
      return;
    }
    const [, namespace = '', name = ''] = PATH.exec(url) ?? [];
    const place = `${namespace}/${name}`;
    const current = api.replicas.get(place);
    if (current === undefined) {
      refuse(404, `deployments.apps "${name}" not found`);
      return;
    }
    if (method === 'PATCH') {
      if (headers['content-type'] !== 'application/merge-patch+json') {
        refuse(415, 'the body of the request was in an unknown format');
        return;
      }
      const patch = JSON.parse(body) as {metadata?: {resourceVersion?: string}; spec: {replicas: number}};
      if (
        patch.metadata?.resourceVersion !== undefined &&
        patch.metadata.resourceVersion !== String(version)
      ) {
        refuse(409, 'the object has been modified; please apply your changes to the latest version');
        return;
      }
      api.scale(place, patch.spec.replicas);
    }
    const replicas = api.replicas.get(place) ?? 0;
    // As the real one: zero is left out.
    const spec = replicas === 0 ? {} : {replicas};
    say(200, {
      ...{kind: 'Scale', apiVersion: 'autoscaling/v1', spec},
      metadata: {name, namespace, resourceVersion: String(version)},
    });
  }
  return api;
}
