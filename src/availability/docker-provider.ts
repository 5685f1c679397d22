/**
 * A provider that starts a container: one that exists, or one it makes of an image, by the Docker Engine API on its Unix
 * socket. Containers are known by their names, so however often it is asked, there is one.
 */
import {createHash} from 'node:crypto';
import {ByError, messageOf} from '../errors.js';
import {isObject} from '../protocol/limits.js';
import {callApi, messageIn, type ApiAnswer} from './call-api.js';
import type {Provider, ProviderDecision} from './provider.js';
import {untilOnline, waitFor} from './wait-for-worker.js';

export interface DockerContainer {
  /** Name or id of a container that exists. */
  readonly container: string;
}

export interface DockerImage {
  /** Must be on the machine: nothing is pulled. */
  readonly image: string;
  /** Name of the container. Default: `by-` and the agent type. */
  readonly name?: string;
  /** The container's environment besides BY_AGENT_TYPE. Shown nowhere. */
  readonly env?: Readonly<Record<string, string>>;
  /** Default: Docker's own. */
  readonly network?: string;
}

export type DockerProviderOptions = (DockerContainer | DockerImage) & {
  /** Default `/var/run/docker.sock`. */
  readonly socketPath?: string;
};

type Call = (method: 'GET' | 'POST' | 'DELETE', path: string, body?: unknown) => Promise<ApiAnswer>;

export const DOCKER_SOCKET = '/var/run/docker.sock';
/** Says that a container is of our making, and for whom. */
const LABEL = 'by.agent_type';
const NAME = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$/;

/** @throws {ByError} INVALID_CONFIG for a name that can be no container's. */
export function dockerProvider(options: DockerProviderOptions): Provider {
  const {socketPath = DOCKER_SOCKET} = options;
  const named = 'container' in options ? options.container : options.name;
  if (named !== undefined && !NAME.test(named)) {
    throw new ByError('INVALID_CONFIG', `"${named}" can not be the name of a container.`, {
      hint: 'Use letters, digits and _ . - only.',
    });
  }
  return {
    name: 'docker',
    async wakeup(request, context): Promise<ProviderDecision> {
      const {signal} = context;
      const {targetAgentType} = request;
      const call: Call = (method, path, body) =>
        callApi({
          isTls: false,
          to: {socketPath},
          method,
          path,
          signal,
          ...(body === undefined ? {} : {body}),
        });
      try {
        const name = named ?? containerName(targetAgentType);
        if ('image' in options) await make(call, name, targetAgentType, options);
        await start(call, name);
        return await untilOnline(context, {
          waitMs: waitFor(request),
          hasEnded: () => endOf(call, name),
          starting: `container ${name} runs, its worker is not online yet`,
        });
      } catch (error) {
        return {status: 'FAILED', reason: hidden(options, reasonOf(error, socketPath)).slice(0, 1000)};
      }
    },
  };
}

/** Two agent types never share a name: where letters are lost, a part of the hash tells them apart. */
function containerName(agentType: string): string {
  const fit = agentType.replaceAll(/[^A-Za-z0-9_.-]/g, '-').slice(0, 60);
  if (fit === agentType) return `by-${fit}`;
  return `by-${fit}-${createHash('sha256').update(agentType).digest('hex').slice(0, 8)}`;
}

async function make(
  call: Call,
  name: string,
  agentType: string,
  {image, env = {}, network}: DockerImage,
): Promise<void> {
  const create = () =>
    call('POST', `/containers/create?name=${encodeURIComponent(name)}`, {
      Image: image,
      Env: Object.entries({...env, BY_AGENT_TYPE: agentType}).map(([key, value]) => `${key}=${value}`),
      Labels: {[LABEL]: agentType},
      ...(network === undefined ? {} : {HostConfig: {NetworkMode: network}}),
    });
  let answer = await create();
  if (answer.status === 409 && (await clearAway(call, name, agentType))) answer = await create();
  // 409 again: somebody else has made it just now.
  if (answer.status === 201 || answer.status === 409) return;
  if (answer.status === 404)
    throw new Error(`there is no image ${image} on this machine: docker pull ${image}`);
  throw new Error(`Docker makes no container ${name} (${answer.status})${messageIn(answer)}`);
}

/**
 * A container of that name has ended: it may be of an older image, or know an older address of Redis.
 * @returns Whether there is room for a new one.
 * @throws if it is not ours: whoever made it wants to keep it.
 */
async function clearAway(call: Call, name: string, agentType: string): Promise<boolean> {
  const found = await inspect(call, name);
  if (found === undefined) return true;
  if (found.agentType !== agentType)
    throw new Error(`there is a container ${name} that was not made for "${agentType}"`);
  if (found.status !== 'exited' && found.status !== 'dead') return false;
  // Without force: one that was started meanwhile stays.
  const {status} = await call('DELETE', `/containers/${encodeURIComponent(name)}`);
  return status === 204 || status === 404;
}

async function start(call: Call, name: string): Promise<void> {
  const answer = await call('POST', `/containers/${encodeURIComponent(name)}/start`);
  // 304: it runs already.
  if (answer.status === 204 || answer.status === 304) return;
  if (answer.status === 404 && (await inspect(call, name)) === undefined)
    throw new Error(`there is no container ${name}`);
  throw new Error(`Docker does not start container ${name} (${answer.status})${messageIn(answer)}`);
}

async function endOf(call: Call, name: string): Promise<string | undefined> {
  const found = await inspect(call, name);
  if (found === undefined) return `container ${name} is gone`;
  if (found.status !== 'exited' && found.status !== 'dead') return undefined;
  return `container ${name} ended with code ${found.exitCode} before its worker was online: docker logs ${name}`;
}

interface Inspected {
  readonly status: string;
  readonly exitCode: number;
  readonly agentType: string;
}

async function inspect(call: Call, name: string): Promise<Inspected | undefined> {
  const answer = await call('GET', `/containers/${encodeURIComponent(name)}/json`);
  if (answer.status === 404) return undefined;
  if (answer.status !== 200)
    throw new Error(`Docker does not show container ${name} (${answer.status})${messageIn(answer)}`);
  const state = objectAt(answer.body, 'State');
  const label = objectAt(objectAt(answer.body, 'Config'), 'Labels')[LABEL];
  return {
    status: typeof state['Status'] === 'string' ? state['Status'] : '',
    exitCode: Number(state['ExitCode'] ?? 0),
    agentType: typeof label === 'string' ? label : '',
  };
}

function objectAt(doc: Readonly<Record<string, unknown>>, name: string): Readonly<Record<string, unknown>> {
  const value = doc[name];
  return isObject(value) ? value : {};
}

function reasonOf(error: unknown, socketPath: string): string {
  const code = (error as NodeJS.ErrnoException).code;
  if (code === 'ENOENT' || code === 'ECONNREFUSED') return `Docker does not run at ${socketPath} (${code})`;
  if (code === 'EACCES') return `this user may not use Docker at ${socketPath} (${code})`;
  return messageOf(error);
}

/** What is in the container's environment may be a password: should Docker repeat it, we do not. */
function hidden(options: DockerProviderOptions, text: string): string {
  const values = 'image' in options ? Object.values(options.env ?? {}) : [];
  return values
    .filter(value => value.length >= 4)
    .reduce((clean, value) => clean.replaceAll(value, '***'), text);
}
