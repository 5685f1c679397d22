/**
 * One real server for the whole run: BY_TEST_REDIS_URL, else Docker through testcontainers, else a redis-server or
 * valkey-server from the PATH. Without any of them the run fails and says what to install.
 */
import {execFileSync} from 'node:child_process';
import type {TestProject} from 'vitest/node';
import {startRedisCluster} from './redis-cluster.js';
import {freePort, startRedisServer} from './redis-server.js';
import {createRoles} from './roles.js';

declare module 'vitest' {
  export interface ProvidedContext {
    redisUrl: string;
    /** One node of a Cluster of three. */
    clusterUrl: string;
    /** The server has a user for each role, and everybody uses theirs. */
    hasRoles: boolean;
  }
}

export default async function setup(project: TestProject): Promise<() => Promise<void>> {
  const hasRoles = project.name === 'roles';
  project.provide('hasRoles', hasRoles);
  if (hasRoles) {
    // Users belong to a server: not to one that others use too.
    const own = await startOwnServer();
    await createRoles(own.url, 't:*:');
    project.provide('redisUrl', own.url);
    project.provide('clusterUrl', '');
    return () => own.stop();
  }
  const [server, cluster] = await Promise.all([findServer(), findCluster()]);
  project.provide('redisUrl', server.url);
  project.provide('clusterUrl', cluster.url);
  return async () => {
    await Promise.all([server.stop(), cluster.stop()]);
  };
}

async function findCluster(): Promise<{url: string; stop: () => Promise<void>}> {
  const given = process.env['BY_TEST_CLUSTER_URL'];
  if (given) return {url: given, stop: () => Promise.resolve()};
  if (has('redis-server')) return startRedisCluster();
  // Nodes tell each other and their clients where they are, so they must see the addresses their clients see.
  return startRedisCluster(async extra => {
    const {GenericContainer} = await import('testcontainers');
    const port = await freePort();
    const container = await new GenericContainer('redis:7.0')
      .withNetworkMode('host')
      .withCommand(['redis-server', '--bind', '127.0.0.1', '--port', String(port), ...extra])
      .start();
    return {
      url: `redis://127.0.0.1:${port}/0`,
      port,
      stop: async () => {
        await container.stop();
      },
    };
  });
}

async function findServer(): Promise<{url: string; stop: () => Promise<void>}> {
  const given = process.env['BY_TEST_REDIS_URL'];
  if (given) return {url: given, stop: () => Promise.resolve()};
  return startOwnServer();
}

async function startOwnServer(): Promise<{url: string; stop: () => Promise<void>}> {
  if (has('redis-server')) return startRedisServer();
  if (has('docker', ['info'])) return startContainer();
  throw new Error(
    'The tests need a Redis server. Install one (Debian: apt-get install redis-server), start Docker, or set BY_TEST_REDIS_URL.',
  );
}

function has(command: string, args: readonly string[] = ['--version']): boolean {
  try {
    execFileSync(command, args, {stdio: 'ignore'});
    return true;
  } catch {
    return false;
  }
}

async function startContainer(): Promise<{url: string; stop: () => Promise<void>}> {
  const {GenericContainer} = await import('testcontainers');
  const container = await new GenericContainer('redis:7.0').withExposedPorts(6379).start();
  return {
    url: `redis://${container.getHost()}:${container.getMappedPort(6379)}/0`,
    stop: async () => {
      await container.stop();
    },
  };
}
