/** The only reader of the process's environment: below here everything is handed in. */
import {homedir} from 'node:os';
import {resolveConnection, type ConnectionSettings, type ConnectionSources} from './connection.js';
import {resolveHistory, type HistoryConfig, type HistorySettings} from './history.js';
import type {KubernetesSources} from './kubeconfig.js';
import {resolveTracing, type TracingConfig, type TracingSettings} from './tracing.js';

/** {@link resolveConnection} with this process's environment. */
export const connectionFromEnv = (sources: Omit<ConnectionSources, 'env'>): ConnectionSettings =>
  resolveConnection({...sources, env: process.env});

/** {@link resolveHistory} with this process's environment. */
export const historyFromEnv = (config?: HistoryConfig): HistorySettings =>
  resolveHistory(process.env, config);
/** {@link resolveTracing} with this process's environment. */
export const tracingFromEnv = (config: TracingConfig | undefined, redisFlag: boolean): TracingSettings =>
  resolveTracing(process.env, config, redisFlag);

/** The workspace of tasks, runs and schedules; undefined if none is set. */
export const workspaceFromEnv = (): string | undefined => process.env['BY_WORKSPACE'] || undefined;

/** The secret that signs requests to a service that starts workers; undefined if none is set. */
export const wakeupSecretFromEnv = (): string | undefined => process.env['BY_WAKEUP_SECRET'] || undefined;

/** What clients of `by mcp --http` must show; undefined if none is set. */
export const mcpTokenFromEnv = (): string | undefined => process.env['BY_MCP_TOKEN'] || undefined;

/** What clients of `by serve --http` must show; undefined if none is set. */
export const serveTokenFromEnv = (): string | undefined => process.env['BY_SERVE_TOKEN'] || undefined;

/** Port of the pages about a worker's health (spec §6.13), as it is written; undefined if none is set. */
export const workerHealthFromEnv = (): string | undefined =>
  process.env['BYAI_WORKER_HEALTH_PORT'] || undefined;

/** One variable that the operator named; undefined if it is not set. */
export const namedFromEnv = (name: string): string | undefined => process.env[name];

/** Where Docker is, as its own programs are told; undefined if nothing is set. */
export const dockerHostFromEnv = (): string | undefined => process.env['DOCKER_HOST'] || undefined;

/** Where the Kubernetes API server is told. */
export const kubernetesFromEnv = (): KubernetesSources => ({
  kubeconfig: process.env['KUBECONFIG'] || undefined,
  serviceHost: process.env['KUBERNETES_SERVICE_HOST'] || undefined,
  servicePort: process.env['KUBERNETES_SERVICE_PORT'] || undefined,
  home: homedir(),
});

const SECRET_NAME = /(?:PASS(?:WORD|WD|PHRASE)?|SECRET|TOKEN|API_?KEY|CREDENTIALS?|PRIVATE_?KEY)$/i;

/** Values in the environment that nobody should see: of variables named like secrets, and the passwords of URLs. */
export function secretsFromEnv(): string[] {
  const found = Object.entries(process.env).flatMap(([name, value = '']) => {
    if (SECRET_NAME.test(name)) return [value];
    return URL.canParse(value) ? passwordsIn(new URL(value)) : [];
  });
  return found.filter(value => value.length >= 8);
}

/** As it is written, and as it is meant. */
function passwordsIn({password}: URL): string[] {
  try {
    return [password, decodeURIComponent(password)];
  } catch {
    // Not encoded by anybody: then it is what it says.
    return [password];
  }
}
