/** A Docker Engine that has no containers: it answers as the Engine API documents it, on a Unix socket. */
import {mkdtempSync, rmSync} from 'node:fs';
import {createServer, type IncomingMessage, type ServerResponse} from 'node:http';
import {tmpdir} from 'node:os';
import {join} from 'node:path';

export interface FakeContainer {
  status: 'created' | 'running' | 'exited';
  exitCode: number;
  readonly image: string;
  readonly env: readonly string[];
  readonly labels: Readonly<Record<string, string>>;
  readonly network: string;
}

export interface FakeDocker {
  readonly socketPath: string;
  readonly containers: Map<string, FakeContainer>;
  readonly images: Set<string>;
  /** `METHOD path` of each request. */
  readonly asked: string[];
  /** Told when a container begins to run. */
  onStart: (name: string) => void;
  /** In place of the next answers, if it says something. */
  fault: (asked: string) => {readonly status: number; readonly body: string} | undefined;
  stop(): Promise<void>;
}

interface CreateBody {
  readonly Image: string;
  readonly Env?: readonly string[];
  readonly Labels?: Readonly<Record<string, string>>;
  readonly HostConfig?: {readonly NetworkMode?: string};
}

export async function startFakeDocker(): Promise<FakeDocker> {
  const dir = mkdtempSync(join(tmpdir(), 'by-docker-'));
  const socketPath = join(dir, 'docker.sock');
  const docker: FakeDocker = {
    socketPath,
    containers: new Map(),
    images: new Set(),
    asked: [],
    onStart: () => undefined,
    fault: () => undefined,
    async stop() {
      server.closeAllConnections();
      await new Promise(done => server.close(done));
      rmSync(dir, {recursive: true, force: true});
    },
  };
  const server = createServer((request, response) => void answer(docker, request, response));
  await new Promise<void>(listening => server.listen(socketPath, listening));
  return docker;
}

async function answer(docker: FakeDocker, request: IncomingMessage, response: ServerResponse): Promise<void> {
  let text = '';
  for await (const chunk of request.setEncoding('utf8')) text += String(chunk);
  const url = new URL(request.url ?? '/', 'http://docker');
  const asked = `${request.method ?? ''} ${url.pathname}`;
  docker.asked.push(asked);
  const say = (status: number, doc?: unknown) =>
    void response
      .writeHead(status, {'content-type': 'application/json'})
      .end(doc === undefined ? '' : JSON.stringify(doc));
  const fault = docker.fault(asked);
  if (fault) return void response.writeHead(fault.status).end(fault.body);
  if (asked === 'POST /containers/create') {
    const name = url.searchParams.get('name') ?? '';
    const body = JSON.parse(text) as CreateBody;
    if (!docker.images.has(body.Image)) {
      say(404, {message: `No such image: ${body.Image}`});
      return;
    }
    if (docker.containers.has(name)) {
      say(409, {
        message: `Conflict. The container name "/${name}" is already in use by container "4f2a".`,
      });
      return;
    }
    docker.containers.set(name, {
      ...{status: 'created', exitCode: 0, image: body.Image},
      ...{env: body.Env ?? [], labels: body.Labels ?? {}, network: body.HostConfig?.NetworkMode ?? 'default'},
    });
    say(201, {Id: `id-of-${name}`, Warnings: []});
    return;
  }
  const [, name = '', act] = /^\/containers\/([^/]+)(?:\/(start|json))?$/.exec(url.pathname) ?? [];
  const container = docker.containers.get(decodeURIComponent(name));
  if (container === undefined) {
    say(404, {message: `No such container: ${name}`});
    return;
  }
  if (act === 'start') {
    if (container.status === 'running') return void response.writeHead(304).end();
    container.status = 'running';
    docker.onStart(decodeURIComponent(name));
    return void response.writeHead(204).end();
  }
  if (act === 'json') {
    say(200, {
      Id: `id-of-${name}`,
      State: {
        Status: container.status,
        Running: container.status === 'running',
        ExitCode: container.exitCode,
      },
      Config: {Image: container.image, Labels: container.labels, Env: container.env},
    });
    return;
  }
  if (request.method === 'DELETE') {
    if (container.status === 'running') {
      say(409, {message: 'cannot remove container: container is running'});
      return;
    }
    docker.containers.delete(decodeURIComponent(name));
    return void response.writeHead(204).end();
  }
  say(404, {message: 'page not found'});
}
