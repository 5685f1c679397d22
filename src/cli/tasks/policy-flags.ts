/** Flags of `by task submit` that make a policy. */
import {readFile} from 'node:fs/promises';
import {ByError, messageOf} from '../../errors.js';
import type {PolicyRequest} from '../../protocol/orchestration/policy.js';

export interface PolicyFlags {
  readonly policy?: string | undefined;
  readonly security?: string | undefined;
  readonly ask?: string | undefined;
  readonly 'workspace-access'?: string | undefined;
  readonly network?: string | undefined;
  readonly cpu?: string | undefined;
  readonly memory?: string | undefined;
  readonly 'require-enforcement'?: readonly string[] | undefined;
  readonly retries?: number | undefined;
  readonly 'retry-delay'?: number | undefined;
  readonly interactive?: boolean | undefined;
}

/** @throws {ByError} INVALID_INPUT for a file that holds none, or for an amount that is none. */
export async function policyOf(flags: PolicyFlags): Promise<PolicyRequest | undefined> {
  const file = flags.policy === undefined ? {} : await policyFile(flags.policy);
  const resources = {
    ...(flags.cpu === undefined ? {} : {cpuMillicores: millicores(flags.cpu)}),
    ...(flags.memory === undefined ? {} : {memoryBytes: bytes(flags.memory)}),
  };
  const retry = {
    ...(flags.retries === undefined ? {} : {maxAttempts: flags.retries + 1}),
    ...(flags['retry-delay'] === undefined ? {} : {delayMs: flags['retry-delay']}),
  };
  const said = {
    ...{security: flags.security, ask: flags.ask, workspaceAccess: flags['workspace-access']},
    ...(flags.network === undefined ? {} : {networkEnabled: flags.network === 'on'}),
    ...(flags['require-enforcement'] === undefined
      ? {}
      : {
          // Those that are no fields are refused with the rest of the policy.
          requireEnforcement: flags['require-enforcement'] as PolicyRequest['requireEnforcement'],
        }),
    ...(flags.interactive === undefined ? {} : {interactive: flags.interactive}),
    ...(Object.keys(resources).length === 0 ? {} : {resources: {...file.resources, ...resources}}),
    ...(Object.keys(retry).length === 0 ? {} : {retry: {...file.retry, ...retry}}),
  };
  const policy = {
    ...file,
    ...Object.fromEntries(Object.entries(said).filter(([, value]) => value !== undefined)),
  };
  return Object.keys(policy).length === 0 ? undefined : policy;
}

/** A file speaks snake_case, as `--json` does. */
export async function policyFile(argument: string): Promise<PolicyRequest> {
  const path = argument.replace(/^@/, '');
  try {
    const doc: unknown = JSON.parse(await readFile(path, 'utf8'));
    if (typeof doc === 'object' && doc !== null && !Array.isArray(doc))
      return camelCase(doc) as PolicyRequest;
    throw new TypeError('it is no JSON object');
  } catch (cause) {
    throw new ByError('INVALID_INPUT', `"${path}" holds no policy: ${messageOf(cause)}`, {
      hint: 'Write a JSON object, for example {"security": "deny", "retry": {"max_attempts": 3}}.',
      cause,
    });
  }
}

function camelCase(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value;
  return Object.fromEntries(
    Object.entries(value).map(([name, part]) => [
      name.replace(/_([a-z])/g, (_, letter: string) => letter.toUpperCase()),
      camelCase(part),
    ]),
  );
}

/** `500m`, `2`, `1.5` cores. */
function millicores(text: string): number {
  const [, number = '', unit] = /^(\d+(?:\.\d+)?)(m?)$/.exec(text) ?? [];
  if (number !== '') return Math.round(Number(number) * (unit === 'm' ? 1 : 1000));
  throw new ByError('INVALID_INPUT', `"${text}" is no number of cores.`, {
    hint: 'Write for example 2 or 500m.',
  });
}

const UNITS = {k: 1024, m: 1_048_576, g: 1_073_741_824} as const;

/** `512m`, `2g`. */
function bytes(text: string): number {
  const [, number = '', unit = ''] = /^(\d+(?:\.\d+)?)([kmg])i?b?$/.exec(text.toLowerCase()) ?? [];
  if (number !== '') return Math.round(Number(number) * UNITS[unit as keyof typeof UNITS]);
  throw new ByError('INVALID_INPUT', `"${text}" is no amount of memory.`, {
    hint: 'Write for example 512m or 2g.',
  });
}
