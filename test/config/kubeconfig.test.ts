/** Where the Kubernetes API server is, and what is not done to reach it. */
import {mkdirSync, mkdtempSync, rmSync, writeFileSync} from 'node:fs';
import {tmpdir} from 'node:os';
import {join} from 'node:path';
import {afterAll, beforeAll, expect, test} from 'vitest';
import {kubernetesAccess} from '../../src/config/kubeconfig.js';

let dir = '';
beforeAll(() => {
  dir = mkdtempSync(join(tmpdir(), 'by-kube-'));
});
afterAll(() => rmSync(dir, {recursive: true}));

function file(text: string): string {
  const path = join(dir, `config-${Math.random().toString(36).slice(2)}`);
  writeFileSync(path, text);
  return path;
}

const config = ({
  cluster = 'server: https://k8s.example:6443',
  user = 'token: secret-token-1',
  current = 'dev',
} = {}) => `
apiVersion: v1
kind: Config
current-context: ${current}
clusters:
  - name: here
    cluster: {${cluster}}
contexts:
  - name: dev
    context: {cluster: here, user: me}
users:
  - name: me
    user:
      ${user}
`;

const read = (text: string) => kubernetesAccess({kubeconfig: file(text), home: dir});

test('a kubeconfig with a token', async () => {
  const access = await read(config());
  expect(access.server.href).toBe('https://k8s.example:6443/');
  expect(await access.token()).toBe('secret-token-1');
});

test('files are looked for beside the kubeconfig, and a token file is read anew', async () => {
  writeFileSync(join(dir, 'ca.pem'), 'CA');
  writeFileSync(join(dir, 'token'), 'one\n');
  const data = Buffer.from('CERT').toString('base64');
  const access = await read(
    config({
      cluster: 'server: https://k8s.example, certificate-authority: ca.pem, tls-server-name: other.example',
      user: `tokenFile: token\n      client-certificate-data: ${data}`,
    }),
  );
  expect(access).toMatchObject({ca: 'CA', cert: 'CERT', serverName: 'other.example'});
  expect(await access.token()).toBe('one');
  writeFileSync(join(dir, 'token'), 'two\n');
  expect(await access.token()).toBe('two');
});

test('in a pod: its service account, with a token that changes', async () => {
  const account = join(dir, 'account');
  mkdirSync(account);
  writeFileSync(join(account, 'token'), 'pod-1');
  writeFileSync(join(account, 'ca.crt'), 'POD CA');
  const sources = {serviceHost: '10.0.0.1', servicePort: '6443', home: dir, serviceAccountDir: account};
  const access = await kubernetesAccess(sources);
  expect([access.server.href, access.ca, await access.token()]).toEqual([
    'https://10.0.0.1:6443/',
    'POD CA',
    'pod-1',
  ]);
  writeFileSync(join(account, 'token'), 'pod-2');
  expect(await access.token()).toBe('pod-2');
  expect((await kubernetesAccess({...sources, serviceHost: 'fd00::1'})).server.host).toBe('[fd00::1]:6443');
});

test('http is for this machine only', async () => {
  expect((await read(config({cluster: 'server: http://127.0.0.1:8001'}))).server.protocol).toBe('http:');
  await expect(read(config({cluster: 'server: http://k8s.example'}))).rejects.toThrow(/https only/);
});

const exec = 'exec: {command: aws-iam, args: [token], apiVersion: client.authentication.k8s.io/v1}';
const anchored = config({user: 'token: &a secret-token-1\n      tokenFile: *a'});
test.each([
  ['a program that makes tokens', config({user: exec}), /gets its token from a program \(exec: aws-iam\)/],
  [
    'a server that is not checked',
    config({cluster: 'server: https://x, insecure-skip-tls-verify: true'}),
    /insecure-skip/,
  ],
  ['a proxy', config({cluster: 'server: https://x, proxy-url: "http://p"'}), /proxy-url/],
  ['a password', config({user: 'username: me\n      password: secret-token-1'}), /"username"/],
  ['an old plugin', config({user: 'auth-provider: {name: gcp}'}), /"auth-provider"/],
  ['a context that is not there', config({current: 'prod'}), /context "prod" names no cluster/],
  ['aliases', anchored, /no YAML that by reads/],
  [
    'keys that are there twice',
    config({user: 'token: a\n      token: secret-token-1'}),
    /no YAML that by reads/,
  ],
  ['what is no YAML', 'a: [secret-token-1', /no YAML that by reads/],
  ['what is no kubeconfig', 'a: 1', /current-context/],
  ['too much', `# ${'x'.repeat(1_100_000)}`, /larger than/],
  ['an address with a password', config({cluster: 'server: "https://u:p@x"'}), /holds a password/],
  ['an address that is none', config({cluster: 'server: here'}), /no URL/],
])('refused, and nothing of it repeated: %s', async (_what, text, message) => {
  const error = await read(text).then(
    () => undefined,
    (thrown: unknown) => thrown as Error,
  );
  expect(error).toMatchObject({code: 'INVALID_CONFIG'});
  expect(error?.message).toMatch(message);
  expect(`${error?.message} ${String(error?.cause)}`).not.toContain('secret-token-1');
});

test('an alias bomb is no work', async () => {
  const levels = Array.from({length: 30}, (_, i) => `l${i + 1}: &l${i + 1} [*l${i}, *l${i}]`).join('\n');
  await expect(read(`l0: &l0 [x, x]\n${levels}\n`)).rejects.toThrow(/no YAML/);
});

test('a file that is missing, or more than one, is named', async () => {
  await expect(kubernetesAccess({home: '/nowhere'})).rejects.toThrow('/nowhere/.kube/config can not be read');
  await expect(kubernetesAccess({kubeconfig: '/a:/b', home: dir})).rejects.toThrow(/more than one/);
});
