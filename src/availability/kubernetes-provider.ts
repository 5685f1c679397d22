/**
 * A provider that scales a Deployment, by its `scale` subresource. It only ever scales up, and only from fewer than
 * what is wanted: what is already asked for is starting, or fails, and more of it would not help.
 */
import type {KubernetesAccess} from '../config/kubeconfig.js';
import {ByError, messageOf} from '../errors.js';
import {isObject} from '../protocol/limits.js';
import {callApi, messageIn, type ApiAnswer} from './call-api.js';
import type {Provider, ProviderDecision} from './provider.js';
import {untilOnline, waitFor} from './wait-for-worker.js';

export interface KubernetesProviderOptions {
  readonly namespace: string;
  readonly deployment: string;
  /** Replicas there shall be, at least. Default 1. */
  readonly replicas?: number;
  /** Never more than this. Default 10. */
  readonly maxReplicas?: number;
  /** How the API server is reached; see kubernetesAccess. */
  readonly access: KubernetesAccess;
}

/** Reads again, when somebody else scaled between our reading and our writing. */
const CONFLICTS = 5;
const LABEL = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;
const SUBDOMAIN = /^[a-z0-9](?:[a-z0-9.-]{0,251}[a-z0-9])?$/;

/** @throws {ByError} INVALID_CONFIG for names and numbers that can not be. */
export function kubernetesProvider(options: KubernetesProviderOptions): Provider {
  const {namespace, deployment, replicas = 1, maxReplicas = 10} = options;
  if (!LABEL.test(namespace) || !SUBDOMAIN.test(deployment)) {
    throw new ByError('INVALID_CONFIG', `"${namespace}/${deployment}" can not name a Deployment.`, {
      hint: 'Write NAMESPACE/DEPLOYMENT in small letters, digits and -.',
    });
  }
  if (
    !Number.isInteger(replicas) ||
    !Number.isInteger(maxReplicas) ||
    replicas < 1 ||
    replicas > maxReplicas
  ) {
    throw new ByError('INVALID_CONFIG', `${replicas} replicas, and ${maxReplicas} at most, can not be.`, {
      hint: 'Ask for 1 replica or more, and not for more than the maximum.',
    });
  }
  const path = `/apis/apps/v1/namespaces/${namespace}/deployments/${deployment}/scale`;
  const place = `${namespace}/${deployment}`;
  return {
    name: 'kubernetes',
    async wakeup(request, context): Promise<ProviderDecision> {
      try {
        const call = (method: 'GET' | 'PATCH', body?: unknown) =>
          ask(options.access, path, method, context.signal, body);
        const count = await scaleUp(call, replicas, place);
        return await untilOnline(context, {
          waitMs: waitFor(request),
          starting: `Deployment ${place} has ${count} ${count === 1 ? 'replica' : 'replicas'}, no worker is online yet`,
        });
      } catch (error) {
        return {status: 'FAILED', reason: `Kubernetes: ${messageOf(error)}`.slice(0, 1000)};
      }
    },
  };
}

type Call = (method: 'GET' | 'PATCH', body?: unknown) => Promise<ApiAnswer>;

/** @returns How many replicas are asked for now. */
async function scaleUp(call: Call, wanted: number, place: string): Promise<number> {
  for (let conflicts = 0; ; conflicts++) {
    const found = await call('GET');
    if (found.status !== 200) throw refusal(found, place);
    const current = countIn(found);
    if (current >= wanted) return current;
    // With the version it was read at: a patch that no longer fits is refused, so this can not scale down.
    const patch = {metadata: {resourceVersion: versionIn(found)}, spec: {replicas: wanted}};
    const patched = await call('PATCH', patch);
    if (patched.status === 200) return wanted;
    if (patched.status !== 409 || conflicts >= CONFLICTS) throw refusal(patched, place);
  }
}

function refusal(answer: ApiAnswer, place: string): Error {
  const {status} = answer;
  if (status === 404) return new Error(`there is no Deployment ${place}`);
  if (status === 401) return new Error('the API server does not know us (401): is the token still good?');
  if (status === 403)
    return new Error(`we may not scale ${place} (403): allow get and patch of deployments/scale`);
  return new Error(`the API server answered ${status}${messageIn(answer)}`);
}

/** A Scale without a number asks for none: zero is left out on the wire. */
function countIn({body}: ApiAnswer): number {
  const spec = body['spec'];
  const count = isObject(spec) ? (spec['replicas'] ?? 0) : undefined;
  if (typeof count !== 'number' || !Number.isInteger(count)) throw new Error('the answer is no Scale');
  return count;
}

function versionIn({body}: ApiAnswer): string {
  const metadata = body['metadata'];
  const version = isObject(metadata) ? metadata['resourceVersion'] : undefined;
  if (typeof version !== 'string' || version === '') throw new Error('the answer has no resourceVersion');
  return version;
}

async function ask(
  {server, ca, cert, key, serverName, token}: KubernetesAccess,
  path: string,
  method: 'GET' | 'PATCH',
  signal: AbortSignal,
  body?: unknown,
): Promise<ApiAnswer> {
  // Read for every request: in a cluster it is replaced while we run.
  const bearer = await token();
  return callApi({
    isTls: server.protocol === 'https:',
    to: {
      host: server.hostname.replace(/^\[|\]$/g, ''),
      port: server.port || (server.protocol === 'https:' ? 443 : 80),
      rejectUnauthorized: true,
      ...(ca === undefined ? {} : {ca}),
      ...(cert === undefined ? {} : {cert}),
      ...(key === undefined ? {} : {key}),
      ...(serverName === undefined ? {} : {servername: serverName}),
    },
    method,
    path: `${server.pathname.replace(/\/$/, '')}${path}`,
    headers: {
      ...(bearer === undefined ? {} : {authorization: `Bearer ${bearer}`}),
      ...(method === 'PATCH' ? {'content-type': 'application/merge-patch+json'} : {}),
    },
    body,
    signal,
  });
}
