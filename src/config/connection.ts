/** Where Redis is: the first source that says so wins, and is named, so that nobody wonders. cli.md §2.4. */
import {ByError} from '../errors.js';
import {selectKeySchema, type KeySchema} from '../protocol/keys.js';
import {UNREADABLE_RECORDS, type UnreadableRecords} from '../protocol/routing.js';

/**
 * D0: nothing is lost when anything but Redis dies. D1: nor when Redis or its machine does. D2: nor when the machine is
 * gone and a replica that acknowledged takes over. guarantees.md §1.
 */
export const DURABILITIES = ['D0', 'D1', 'D2'] as const;
export type Durability = (typeof DURABILITIES)[number];

export interface DepthLimits {
  /** Commands of one agent type that wait or run. 0: no limit. Default 1,000,000. */
  readonly perAgentType: number;
  /** Unfinished commands of one user. 0: no limit, and nothing is counted. Default 0. */
  readonly perUser: number;
  /** Dead letters that may be kept: at so many, what fails stays where it is. 0: no limit. Default 100,000. */
  readonly deadLetters: number;
}

/** A group of Sentinels, and the name under which they watch our server. */
export interface SentinelSettings {
  /** As `host:port`; asked in turn. */
  readonly nodes: readonly string[];
  readonly master: string;
  /** Of the Sentinels themselves; never print it. */
  readonly password?: string;
}

export interface ConnectionSettings {
  /** May hold a password: never print it. */
  readonly url: string;
  readonly keySchema: KeySchema;
  /** Nodes of a Cluster as `host:port`; none if the URL alone says where Redis is. */
  readonly clusterNodes: readonly string[];
  /** Who knows which server leads; undefined if the URL says where Redis is. */
  readonly sentinel?: SentinelSettings;
  /** What the server must give; undefined to take what it gives. */
  readonly durability?: Durability;
  /** Those that were set. */
  readonly limits: Partial<DepthLimits>;
  /** What circuits and quotas that can not be read do; undefined for the default. */
  readonly unreadableRecords?: UnreadableRecords;
  /** Where the URL came from, for people. */
  readonly source: string;
}

export interface ConnectionSources {
  readonly flagUrl?: string | undefined;
  /** From standard input; goes into whatever URL is chosen. */
  readonly password?: string | undefined;
  readonly flagKeySchema?: KeySchema | undefined;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** `redisUrl` of the project's by.config. */
  readonly configUrl?: string | undefined;
  readonly configKeySchema?: KeySchema | undefined;
  readonly durability?: Durability | undefined;
  /** Address of a running `by dev` in this project. */
  readonly devUrl?: string | undefined;
}

/**
 * Choose the connection: flag, BY_REDIS_URL, the SDKs' variables (a URL, nodes of a Cluster, a host), the project's config, a running `by dev`, localhost.
 * @throws {ByError} INVALID_CONFIG for what is no Redis URL, KEY_SCHEMA for an unknown schema.
 */
export function resolveConnection(sources: ConnectionSources): ConnectionSettings {
  const {env} = sources;
  const candidates: readonly (readonly [string | undefined, string])[] = [
    [sources.flagUrl, '--redis-url'],
    [env['BY_REDIS_URL'], 'BY_REDIS_URL'],
    [env['BYAI_REDIS_URL'], 'BYAI_REDIS_URL'],
    [env['REDIS_URL'], 'REDIS_URL'],
  ];
  const chosen = candidates.find(([url]) => url !== undefined && url !== '');
  const clusterNodes = chosen ? [] : clusterVariables(env);
  const [url, source] =
    chosen ?? clusterUrl(env, clusterNodes) ?? hostVariables(env) ?? laterSources(sources);
  return {
    url: checkUrl(withPassword(url ?? '', sources.password), source),
    keySchema:
      sources.flagKeySchema ??
      schemaFromEnv(env) ??
      sources.configKeySchema ??
      (clusterNodes.length > 0 ? 'v2' : 'v1'),
    clusterNodes,
    ...sentinelOf(env),
    limits: limitsOf(env),
    ...unreadableOf(env),
    ...(sources.durability === undefined ? {} : {durability: sources.durability}),
    source,
  };
}

function sentinelOf(env: ConnectionSources['env']): {sentinel?: SentinelSettings} {
  const nodes = nodesFrom(env['BY_SENTINELS'] ?? '', 26_379);
  if (nodes.length === 0) return {};
  const password = env['BY_SENTINEL_PASSWORD'];
  return {
    sentinel: {
      nodes,
      master: env['BY_SENTINEL_MASTER'] || 'mymaster',
      ...(password ? {password} : {}),
    },
  };
}

function limitsOf(env: ConnectionSources['env']): Partial<DepthLimits> {
  const perAgentType = limitFrom(env, 'BY_QUEUE_LIMIT');
  const perUser = limitFrom(env, 'BY_USER_LIMIT');
  const deadLetters = limitFrom(env, 'BY_DEADLETTER_LIMIT');
  return {
    ...(perAgentType === undefined ? {} : {perAgentType}),
    ...(perUser === undefined ? {} : {perUser}),
    ...(deadLetters === undefined ? {} : {deadLetters}),
  };
}

function unreadableOf(env: ConnectionSources['env']): {unreadableRecords?: UnreadableRecords} {
  const text = env['BY_UNREADABLE_RECORDS'];
  if (!text) return {};
  const found = UNREADABLE_RECORDS.find(one => one === text);
  if (found !== undefined) return {unreadableRecords: found};
  throw new ByError('INVALID_CONFIG', `BY_UNREADABLE_RECORDS is "${text.slice(0, 40)}".`, {
    hint: `Set it to ${UNREADABLE_RECORDS.join(' or ')}.`,
  });
}

function limitFrom(env: ConnectionSources['env'], name: string): number | undefined {
  const text = env[name];
  if (!text) return undefined;
  if (/^\d{1,12}$/.test(text)) return Number(text);
  throw new ByError('INVALID_CONFIG', `${name} is "${text.slice(0, 40)}", which is no number.`, {
    hint: `Set ${name} to a whole number, 0 for no limit.`,
  });
}

/** The SDKs' lists of nodes: spec §0.3. An explicit REDIS_MODE=standalone means that they are not in use. */
function clusterVariables(env: ConnectionSources['env']): string[] {
  if (env['REDIS_MODE'] === 'standalone') return [];
  return nodesFrom(env['REDIS_CLUSTER_HOST'] || env['REDIS_CLUSTER_NODES'] || '', 6379);
}

function nodesFrom(list: string, port: number): string[] {
  return list
    .split(',')
    .map(node => node.trim())
    .filter(node => node !== '')
    .map(node => (/:\d+$/.test(node) ? node : `${node}:${port}`));
}

function clusterUrl(
  env: ConnectionSources['env'],
  [first]: readonly string[],
): readonly [string, string] | undefined {
  if (first === undefined) return undefined;
  if (!URL.canParse(`redis://${first}`)) return [first, 'REDIS_CLUSTER_HOST'];
  const url = new URL(`redis://${first}`);
  addCredentials(url, env);
  return [url.href, 'REDIS_CLUSTER_HOST'];
}

function schemaFromEnv(env: ConnectionSources['env']): KeySchema | undefined {
  return env['REDIS_KEY_SCHEMA_VERSION'] ? selectKeySchema(env) : undefined;
}

function laterSources(sources: ConnectionSources): readonly [string, string] {
  if (sources.configUrl) return [sources.configUrl, 'by.config'];
  if (sources.devUrl) return [sources.devUrl, 'by dev'];
  return ['redis://localhost:6379/0', 'default'];
}

/** The SDKs' REDIS_HOST, REDIS_PORT and so on: spec §0.3. */
function hostVariables(env: ConnectionSources['env']): readonly [string, string] | undefined {
  const host = env['REDIS_HOST'];
  if (!host) return undefined;
  const url = new URL('redis://localhost:6379/0');
  url.hostname = host;
  url.port = env['REDIS_PORT'] || '6379';
  url.pathname = `/${env['REDIS_DATABASE'] || env['REDIS_DB'] || '0'}`;
  addCredentials(url, env);
  return [url.href, 'REDIS_HOST'];
}

function addCredentials(url: URL, env: ConnectionSources['env']): void {
  if (env['REDIS_USERNAME']) url.username = env['REDIS_USERNAME'];
  if (env['REDIS_PASSWORD']) url.password = encodeURIComponent(env['REDIS_PASSWORD']);
}

function withPassword(url: string, password: string | undefined): string {
  if (password === undefined) return url;
  const parsed = parse(url);
  if (parsed === undefined) return url;
  parsed.password = encodeURIComponent(password);
  return parsed.href;
}

function checkUrl(url: string, source: string): string {
  const parsed = parse(url);
  if (parsed && (parsed.protocol === 'redis:' || parsed.protocol === 'rediss:')) return url;
  // The value may hold a password, so it is not repeated.
  throw new ByError('INVALID_CONFIG', `The address from ${source} is no Redis URL.`, {
    hint: 'Write it as redis://host:port/database, or rediss:// for TLS.',
  });
}

function parse(url: string): URL | undefined {
  return URL.canParse(url) ? new URL(url) : undefined;
}
