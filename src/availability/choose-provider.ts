/** Which provider starts whom: `PATTERN=SPEC` as an operator writes it, and the provider that passes requests on. */
import {ByError} from '../errors.js';
import type {Provider} from './provider.js';

/** A provider as it is named on a command line. */
export type ProviderSpec =
  | {readonly kind: 'mock'; readonly mode: string}
  | {readonly kind: 'process'; readonly command: string}
  | {readonly kind: 'http'; readonly url: string}
  | {
      readonly kind: 'docker';
      readonly container?: string;
      readonly image?: string;
      readonly name?: string;
      readonly network?: string;
      /** `NAME`, or `NAME:VARIABLE` if the value is in another variable. Default: those a worker looks for Redis in. */
      readonly env?: readonly string[];
    }
  | {
      readonly kind: 'kubernetes';
      readonly namespace: string;
      readonly deployment: string;
      readonly replicas?: number;
      readonly maxReplicas?: number;
    }
  | {readonly kind: 'file'; readonly file: string};

export interface ProviderRule {
  /** Agent types it is for; `*` stands for any text. */
  readonly pattern: string;
  readonly spec: ProviderSpec;
}

const KINDS = /^(?:mock|process|http|https|docker|kubernetes)(?::|$)/;
const PATTERN = /^[A-Za-z0-9._:@*-]+$/;
const FORMS =
  'mock[:MODE], process:CMD, http:URL, docker:CONTAINER, docker:image=IMAGE, kubernetes:NAMESPACE/DEPLOYMENT, or a FILE';

/**
 * `SPEC`, or `PATTERN=SPEC` for the agent types that fit.
 * @throws {ByError} USAGE, naming the forms.
 */
export function parseProviderRule(text: string): ProviderRule {
  const at = text.indexOf('=');
  const before = text.slice(0, Math.max(0, at));
  // `docker:image=x` is a spec, and a path with a `=` in it is a file.
  const hasPattern = at > 0 && !KINDS.test(text) && PATTERN.test(before);
  if (!hasPattern) return {pattern: '*', spec: parseSpec(text)};
  return {pattern: before, spec: parseSpec(text.slice(at + 1))};
}

function parseSpec(text: string): ProviderSpec {
  const [kind = '', ...more] = text.split(':');
  const rest = more.join(':');
  switch (kind) {
    case 'mock':
      return {kind, mode: rest === '' ? 'ready' : rest};
    case 'process':
      if (rest.trim() !== '') return {kind, command: rest};
      break;
    case 'https':
      return {kind: 'http', url: text};
    case 'http':
      // Both `http:https://…` and a plain `http://…`.
      if (rest !== '') return {kind, url: rest.startsWith('//') ? text : rest};
      break;
    case 'docker':
      return dockerSpec(rest, text);
    case 'kubernetes':
      return kubernetesSpec(rest, text);
    default:
      if (text !== '') return {kind: 'file', file: text};
  }
  throw wrong(text, FORMS);
}

function dockerSpec(rest: string, text: string): ProviderSpec {
  const form = 'docker:CONTAINER or docker:image=IMAGE[,name=NAME][,network=NET][,env=NAME[:VARIABLE]]…';
  if (rest === '') throw wrong(text, form);
  if (!rest.includes('=')) return {kind: 'docker', container: rest};
  const pairs = pairsOf(rest, text, form, ['image', 'name', 'network', 'env']);
  const one = (key: string) => pairs.find(([name]) => name === key)?.[1];
  const image = one('image');
  if (image === undefined) throw wrong(text, form);
  const env = pairs.filter(([name]) => name === 'env').map(([, value]) => value);
  if (env.some(value => !/^[A-Za-z_]\w*(?::[A-Za-z_]\w*)?$/.test(value))) throw wrong(text, form);
  const [name, network] = [one('name'), one('network')];
  return {
    kind: 'docker',
    image,
    ...(name === undefined ? {} : {name}),
    ...(network === undefined ? {} : {network}),
    ...(env.length === 0 ? {} : {env}),
  };
}

function kubernetesSpec(rest: string, text: string): ProviderSpec {
  const form = 'kubernetes:NAMESPACE/DEPLOYMENT[,replicas=N][,max=N]';
  const [place = '', ...options] = rest.split(',');
  const [namespace = '', deployment = '', ...more] = place.split('/');
  if (namespace === '' || deployment === '' || more.length > 0) throw wrong(text, form);
  const pairs = options.length === 0 ? [] : pairsOf(options.join(','), text, form, ['replicas', 'max']);
  if (pairs.some(([, value]) => !/^\d{1,5}$/.test(value))) throw wrong(text, form);
  const number = (key: string) => pairs.filter(([name]) => name === key).map(([, value]) => Number(value))[0];
  const [replicas, maxReplicas] = [number('replicas'), number('max')];
  return {
    kind: 'kubernetes',
    ...{namespace, deployment},
    ...(replicas === undefined ? {} : {replicas}),
    ...(maxReplicas === undefined ? {} : {maxReplicas}),
  };
}

function pairsOf(rest: string, text: string, form: string, keys: readonly string[]): [string, string][] {
  return rest.split(',').map(pair => {
    const at = pair.indexOf('=');
    const [key, value] = [pair.slice(0, Math.max(0, at)), pair.slice(at + 1)];
    if (!keys.includes(key) || value === '') throw wrong(text, form);
    return [key, value];
  });
}

const wrong = (text: string, form: string) =>
  new ByError('USAGE', `"${text}" names no provider.`, {
    hint: `Write ${form}. For single agent types put PATTERN= before it: ocr*=process:…`,
  });

/** Whether an agent type fits a pattern. */
export function fits(pattern: string, agentType: string): boolean {
  const parts = pattern.split(/\*+/).map(part => part.replaceAll(/[.\\+?^${}()|[\]]/g, '\\$&'));
  return new RegExp(`^${parts.join('.*')}$`, 's').test(agentType);
}

export interface ChosenProvider {
  readonly pattern: string;
  readonly provider: Provider;
}

/** Passes each request to the first provider whose pattern fits; REJECTED if none does. */
export function choosingProvider(rules: readonly ChosenProvider[]): Provider {
  const choose = (agentType: string): Provider =>
    rules.find(({pattern}) => fits(pattern, agentType))?.provider ?? nobody;
  return {
    name: rules
      .map(({pattern, provider}) => (pattern === '*' ? provider.name : `${pattern}=${provider.name}`))
      .join(', '),
    choose: ({targetAgentType}) => choose(targetAgentType),
    wakeup: (request, context) => choose(request.targetAgentType).wakeup(request, context),
    async close() {
      const ends = await Promise.allSettled(rules.map(async ({provider}) => provider.close?.()));
      for (const end of ends) if (end.status === 'rejected') throw end.reason as Error;
    },
  };
}

const nobody: Provider = {
  name: 'none',
  wakeup: async ({targetAgentType}) => ({
    status: 'REJECTED',
    reason: `no provider is configured for "${targetAgentType}"`,
  }),
};
