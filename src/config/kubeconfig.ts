/** How the API server of a Kubernetes cluster is reached: from inside of it, or as a kubeconfig says. */
import {readFile, stat} from 'node:fs/promises';
import {dirname, resolve} from 'node:path';
import {z} from 'zod';
import {ByError, messageOf} from '../errors.js';

export interface KubernetesAccess {
  /** https; http only to this machine, where `kubectl proxy` may be. */
  readonly server: URL;
  /** PEM. Without it the well-known authorities are trusted. */
  readonly ca?: string;
  readonly cert?: string;
  readonly key?: string;
  /** The name the server's certificate is checked against, if it is not its address. */
  readonly serverName?: string;
  /** The bearer token as it is now; undefined if there is none. */
  readonly token: () => Promise<string | undefined>;
}

export interface KubernetesSources {
  /** KUBECONFIG: one file. */
  readonly kubeconfig?: string | undefined;
  /** KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT, which every pod is given. */
  readonly serviceHost?: string | undefined;
  readonly servicePort?: string | undefined;
  readonly home: string;
  /** Folder with `token` and `ca.crt`. Default: where every pod has it. */
  readonly serviceAccountDir?: string;
}

const SERVICE_ACCOUNT = '/var/run/secrets/kubernetes.io/serviceaccount';
const MAX_FILE_BYTES = 1_048_576;

const text = z.string().min(1).optional();

const Kubeconfig = z.object({
  'current-context': z.string().min(1),
  clusters: z.array(
    z.object({
      name: z.string(),
      cluster: z.object({
        server: z.string().min(1),
        'certificate-authority': text,
        'certificate-authority-data': text,
        'tls-server-name': text,
        'insecure-skip-tls-verify': z.boolean().optional(),
        'proxy-url': text,
      }),
    }),
  ),
  contexts: z.array(z.object({name: z.string(), context: z.object({cluster: z.string(), user: z.string()})})),
  users: z.array(
    z.object({
      name: z.string(),
      user: z
        .looseObject({
          token: text,
          tokenFile: text,
          'client-certificate': text,
          'client-certificate-data': text,
          'client-key': text,
          'client-key-data': text,
        })
        .nullish(),
    }),
  ),
});

/**
 * The first there is of: KUBECONFIG, this pod's service account, `~/.kube/config`.
 * @throws {ByError} INVALID_CONFIG, naming what can not be used.
 */
export async function kubernetesAccess(sources: KubernetesSources): Promise<KubernetesAccess> {
  const {kubeconfig, serviceHost} = sources;
  if (kubeconfig !== undefined) {
    if (kubeconfig.includes(process.platform === 'win32' ? ';' : ':'))
      throw unusable('KUBECONFIG names more than one file.', 'Name one: by does not merge them.');
    return fromKubeconfig(kubeconfig);
  }
  if (serviceHost !== undefined) return fromServiceAccount(sources, serviceHost);
  return fromKubeconfig(resolve(sources.home, '.kube/config'));
}

async function fromServiceAccount(
  {servicePort = '443', serviceAccountDir: dir = SERVICE_ACCOUNT}: KubernetesSources,
  host: string,
): Promise<KubernetesAccess> {
  const tokenFile = resolve(dir, 'token');
  const [ca] = await Promise.all([readText(resolve(dir, 'ca.crt')), readText(tokenFile)]);
  const server = urlOf(`https://${host.includes(':') ? `[${host}]` : host}:${servicePort}`);
  return {server, ca, token: tokenIn(tokenFile)};
}

async function fromKubeconfig(file: string): Promise<KubernetesAccess> {
  const parsed = Kubeconfig.safeParse(await readYaml(file));
  if (!parsed.success) {
    const [issue] = parsed.error.issues;
    throw unusable(`${file} at ${issue?.path.join('.') ?? ''}: ${issue?.message ?? 'is no kubeconfig'}`);
  }
  const {clusters, contexts, users, 'current-context': current} = parsed.data;
  const context = contexts.find(one => one.name === current)?.context;
  const cluster = clusters.find(one => one.name === context?.cluster)?.cluster;
  if (context === undefined || cluster === undefined)
    throw unusable(`${file}: context "${current}" names no cluster of the file.`);
  const user = users.find(one => one.name === context.user)?.user ?? {};
  refuse(file, context.user, cluster, user);

  const dir = dirname(file);
  const pem = async (data: string | undefined, path: string | undefined) =>
    data !== undefined
      ? Buffer.from(data, 'base64').toString('utf8')
      : path === undefined
        ? undefined
        : readText(resolve(dir, path));
  const ca = await pem(cluster['certificate-authority-data'], cluster['certificate-authority']);
  const cert = await pem(user['client-certificate-data'], user['client-certificate']);
  const key = await pem(user['client-key-data'], user['client-key']);
  const {token, tokenFile} = user;
  const serverName = cluster['tls-server-name'];
  return {
    server: serverOf(cluster.server, file),
    ...(ca === undefined ? {} : {ca}),
    ...(cert === undefined ? {} : {cert}),
    ...(key === undefined ? {} : {key}),
    ...(serverName === undefined ? {} : {serverName}),
    // As kubectl does: a file counts more than the text.
    token: tokenFile !== undefined ? tokenIn(resolve(dir, tokenFile)) : () => Promise.resolve(token),
  };
}

/** What would run programs, or trust anybody. */
function refuse(
  file: string,
  userName: string,
  cluster: {
    readonly 'insecure-skip-tls-verify'?: boolean | undefined;
    readonly 'proxy-url'?: string | undefined;
  },
  user: Readonly<Record<string, unknown>>,
): void {
  if (cluster['insecure-skip-tls-verify'] === true)
    throw unusable(
      `${file} turns off the check of the server's certificate (insecure-skip-tls-verify).`,
      "Name the cluster's authority with certificate-authority instead.",
    );
  if (cluster['proxy-url'] !== undefined)
    throw unusable(
      `${file} asks for a proxy (proxy-url), which by does not use.`,
      'Use a context without one.',
    );
  const {exec} = user;
  if (exec !== undefined && exec !== null) {
    const command = (exec as {command?: unknown}).command;
    throw unusable(
      `User "${userName}" of ${file} gets its token from a program (exec${typeof command === 'string' ? `: ${command}` : ''}), and by runs none.`,
      'Use a user with a token or a client certificate: a service account, for example.',
    );
  }
  for (const name of ['auth-provider', 'username', 'password', 'as']) {
    if (user[name] !== undefined && user[name] !== null)
      throw unusable(
        `User "${userName}" of ${file} has "${name}", which by does not know.`,
        'Use a user with a token or a client certificate.',
      );
  }
}

function serverOf(text: string, file: string): URL {
  const server = urlOf(text);
  const isHere = ['localhost', '127.0.0.1', '[::1]'].includes(server.hostname);
  if (server.protocol !== 'https:' && !(server.protocol === 'http:' && isHere))
    throw unusable(`${file}: the server is asked by https only.`);
  if (server.username !== '' || server.password !== '')
    throw unusable(`${file}: the address of the server holds a password.`);
  return server;
}

function urlOf(text: string): URL {
  if (!URL.canParse(text)) throw unusable('The address of the Kubernetes API server is no URL.');
  return new URL(text);
}

const tokenIn = (file: string) => async () => (await readText(file)).trim() || undefined;

/** YAML 1.2 core, without aliases: a small file can not become a large document. */
async function readYaml(file: string): Promise<unknown> {
  const source = await readText(file);
  const {parse} = await import('yaml');
  try {
    return parse(source, {
      version: '1.2',
      schema: 'core',
      maxAliasCount: 0,
      prettyErrors: false,
      logLevel: 'error',
    });
  } catch (cause) {
    // Its message may quote the file, and the file holds tokens.
    const code = (cause as {code?: unknown}).code;
    throw unusable(`${file} is no YAML that by reads (${typeof code === 'string' ? code : 'aliases'}).`);
  }
}

async function readText(file: string): Promise<string> {
  try {
    if ((await stat(file)).size > MAX_FILE_BYTES)
      throw new Error(`it is larger than ${MAX_FILE_BYTES} bytes`);
    return await readFile(file, 'utf8');
  } catch (cause) {
    throw unusable(`${file} can not be read: ${messageOf(cause)}`);
  }
}

const unusable = (message: string, hint = 'Correct it, or name another kubeconfig with KUBECONFIG.') =>
  new ByError('INVALID_CONFIG', message, {hint});
