/** From what an operator wrote (`--provider`) to a provider: addresses, secrets and folders come from here. */
import {
  choosingProvider,
  parseProviderRule,
  type ChosenProvider,
  type ProviderSpec,
} from '../availability/choose-provider.js';
import {dockerProvider} from '../availability/docker-provider.js';
import {httpProvider} from '../availability/http-provider.js';
import {kubernetesProvider} from '../availability/kubernetes-provider.js';
import {threadProvider} from '../availability/thread-provider.js';
import {mockProvider} from '../availability/mock-provider.js';
import {type ProcessPool, type StartCommand} from '../availability/process-pool.js';
import {processProvider} from '../availability/process-provider.js';
import type {Provider} from '../availability/provider.js';
import {kubernetesAccess} from '../config/kubeconfig.js';
import {dockerHostFromEnv, kubernetesFromEnv, namedFromEnv, wakeupSecretFromEnv} from '../config/load.js';
import {ByError} from '../errors.js';
import {readMockMode} from './mock-script.js';
import {rememberSecret} from '../redact.js';
import {secretIn} from './secret-file.js';

export interface MakeProvider {
  readonly pool: ProcessPool;
  /** Where started workers find Redis; may hold a password. */
  readonly redisUrl: string;
  readonly keySchema: string;
  readonly wakeupSecretFile: string | undefined;
  /** A service may be on this machine, there also by http. */
  readonly allowLoopback: boolean;
}

/** What a container is given if nothing is said: where Redis is, as far as it is set. */
const CONTAINER_ENV = ['BY_REDIS_URL', 'REDIS_KEY_SCHEMA_VERSION'];

/**
 * The provider that `--provider SPEC` and `--provider PATTERN=SPEC`, first to last, stand for.
 * @throws {ByError} USAGE, INVALID_CONFIG or PROVIDER_LOAD_FAILED: whatever can be known before it is asked.
 */
export async function makeProvider(specs: readonly string[], make: MakeProvider): Promise<Provider> {
  const rules: ChosenProvider[] = [];
  for (const {pattern, spec} of specs.map(parseProviderRule))
    rules.push({pattern, provider: await providerOf(spec, make)});
  return choosingProvider(rules);
}

async function providerOf(spec: ProviderSpec, make: MakeProvider): Promise<Provider> {
  switch (spec.kind) {
    case 'mock':
      return mockProvider({mode: await readMockMode(spec.mode)});
    case 'process':
      return processProvider({
        pool: make.pool,
        commandFor: type => shellCommand(type, spec.command, make.redisUrl, make.keySchema),
      });
    case 'http':
      return askingProvider(spec.url, make);
    case 'docker': {
      const socketPath = dockerSocket();
      const place = socketPath === undefined ? {} : {socketPath};
      const {container, image, name, network} = spec;
      if (image === undefined) return dockerProvider({container: container ?? '', ...place});
      return dockerProvider({
        ...place,
        image,
        env: containerEnv(spec.env),
        ...(name === undefined ? {} : {name}),
        ...(network === undefined ? {} : {network}),
      });
    }
    case 'kubernetes': {
      const {kind: _kind, ...options} = spec;
      return kubernetesProvider({...options, access: await kubernetesAccess(kubernetesFromEnv())});
    }
    case 'file':
      return threadProvider(spec.file);
  }
}

/** A provider that asks a service, signed with a secret that is on no command line. */
export async function askingProvider(
  url: string,
  {wakeupSecretFile: file, allowLoopback}: Pick<MakeProvider, 'wakeupSecretFile' | 'allowLoopback'>,
): Promise<Provider> {
  const secret = file === undefined ? wakeupSecretFromEnv() : await secretIn(file, '--wakeup-secret-file');
  if (secret === undefined) {
    throw new ByError('USAGE', 'No secret was given to sign the requests to the service with.', {
      hint: 'Name a file with --wakeup-secret-file, or set BY_WAKEUP_SECRET. To make one: openssl rand -hex 32',
    });
  }
  rememberSecret(secret);
  return httpProvider({url, secret, allowLoopback});
}

/** The socket of DOCKER_HOST; undefined: where Docker usually is. */
function dockerSocket(): string | undefined {
  const host = dockerHostFromEnv();
  if (host === undefined) return undefined;
  if (host.startsWith('unix:///')) return host.slice('unix://'.length);
  throw new ByError('INVALID_CONFIG', 'DOCKER_HOST is no Unix socket, and by asks Docker on one only.', {
    hint: 'Set DOCKER_HOST=unix:///path/to/docker.sock, or run the manager on the machine of the containers.',
  });
}

/** Only what was named goes into a container; its values are shown nowhere. */
function containerEnv(names: readonly string[] | undefined): Record<string, string> {
  const env: Record<string, string> = {};
  for (const entry of names ?? CONTAINER_ENV) {
    const [name = '', source = name] = entry.split(':');
    const value = namedFromEnv(source);
    if (value !== undefined) env[name] = value;
    else if (names !== undefined) {
      throw new ByError('USAGE', `The variable ${source} is to be given to a container, and is not set.`, {
        hint: `Set ${source}, or leave env=${entry} out.`,
      });
    }
  }
  return env;
}

/** The operator's own command line, run by the shell as it was typed. */
export function shellCommand(
  agentType: string,
  command: string,
  redisUrl: string,
  keySchema: string,
): StartCommand {
  const env = {
    ...process.env,
    BY_REDIS_URL: redisUrl,
    REDIS_KEY_SCHEMA_VERSION: keySchema,
    BY_AGENT_TYPE: agentType,
  };
  // exec: signals must reach the worker, not a shell in front of it.
  return process.platform === 'win32'
    ? {name: agentType, file: 'cmd', args: ['/c', command], env}
    : {name: agentType, file: 'sh', args: ['-c', `exec ${command}`], env};
}
