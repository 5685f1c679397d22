/** How a run may be executed: what is asked for, filled in, checked, and the pool it puts a run into. */
import {createHash} from 'node:crypto';
import {z} from 'zod';
import {checkInput, record} from './record.js';

export const RETRY_CLASSES = ['error', 'timeout', 'worker_lost'] as const;
export type RetryClass = (typeof RETRY_CLASSES)[number];

const MAX_TRIES = 20;
const MAX_DELAY_MS = 86_400_000;
const MIB = 1_048_576;

export const retryShape = {
  /** Tries in all, the first among them. */
  maxAttempts: z.number().int().min(1).max(MAX_TRIES),
  /** Before each further try. */
  delayMs: z.number().int().min(0).max(MAX_DELAY_MS),
  /** `exponential` doubles the wait with each try. Default fixed. */
  backoff: z.enum(['fixed', 'exponential']).optional(),
  maxDelayMs: z.number().int().min(0).max(MAX_DELAY_MS).optional(),
  /** Default all. */
  retryOn: z.array(z.enum(RETRY_CLASSES)).optional(),
};

export const resourceShape = {
  cpuMillicores: z.number().int().min(1).max(32_000).optional(),
  memoryBytes: z
    .number()
    .int()
    .min(64 * MIB)
    .max(131_072 * MIB)
    .optional(),
  gpuCount: z.number().int().min(0).max(8).optional(),
};

/** The fields whose enforcement may be demanded. */
export const POLICY_FIELDS = [
  'host',
  'security',
  'ask',
  'runtime_type',
  'workspace_access',
  'network_enabled',
  'interactive',
  'resources',
  'retry',
] as const;
export type PolicyField = (typeof POLICY_FIELDS)[number];

export const policyShape = {
  host: z.literal('sandbox'),
  security: z.enum(['deny', 'allowlist', 'full']),
  ask: z.enum(['off', 'on-miss', 'always']),
  askFallback: z.enum(['deny', 'allow']),
  runtimeType: z.enum(['gvisor', 'runc']),
  workspaceAccess: z.enum(['none', 'ro', 'rw']),
  networkEnabled: z.boolean(),
  /**
   * Whether the agent may ask a person, and the task stays open when its run is done. Absent: it may ask, and the task is
   * done with its run. False refuses questions.
   */
  interactive: z.boolean().optional(),
  requireEnforcement: z.array(z.enum(POLICY_FIELDS)),
};

export const RunRetryPolicy = record(retryShape);
export type RunRetryPolicy = z.output<typeof RunRetryPolicy>;

export const RunExecutionPolicy = record({
  ...policyShape,
  resources: record(resourceShape),
  retry: RunRetryPolicy,
});
export type RunExecutionPolicy = z.output<typeof RunExecutionPolicy>;

/** What a caller may say of a policy: any part of it. */
export type PolicyRequest = Partial<Omit<RunExecutionPolicy, 'retry'>> & {
  readonly retry?: Partial<RunRetryPolicy> | null;
};

const anything = (shape: object) =>
  Object.fromEntries(Object.keys(shape).map(field => [field, z.unknown().optional()]));

/** A request that is kept until it is made: checked when it was given, so that a reader need not know every value of a newer program. */
export const KeptPolicy = record({
  ...anything(policyShape),
  resources: record(anything(resourceShape)).optional(),
  retry: record(anything(retryShape)).nullable().optional(),
}) as unknown as z.ZodType<PolicyRequest, Record<string, unknown>>;

const DEFAULT_RETRY: RunRetryPolicy = {maxAttempts: 2, delayMs: 0};

export function defaultRunExecutionPolicy(): RunExecutionPolicy {
  return {
    host: 'sandbox',
    security: 'allowlist',
    ask: 'off',
    askFallback: 'deny',
    runtimeType: 'gvisor',
    workspaceAccess: 'rw',
    networkEnabled: true,
    resources: {},
    retry: {...DEFAULT_RETRY},
    requireEnforcement: [],
  };
}

/** No tries at all, or fewer, means the default; what is beyond the bounds is drawn in. */
export function normalizeRunRetryPolicy(retry: Partial<RunRetryPolicy> = {}): RunRetryPolicy {
  const {maxAttempts = 0, delayMs = 0} = retry;
  return {
    ...retry,
    maxAttempts:
      maxAttempts > 0 ? Math.min(Math.trunc(maxAttempts) || 1, MAX_TRIES) : DEFAULT_RETRY.maxAttempts,
    delayMs: Math.min(Math.max(0, Math.trunc(delayMs) || 0), MAX_DELAY_MS),
  };
}

export const retryPolicyOrDefault = (retry?: Partial<RunRetryPolicy> | null): RunRetryPolicy =>
  normalizeRunRetryPolicy(retry ?? {});

/** Fill in what is blank. Never throws: {@link validateRunExecutionPolicy} says what is wrong. */
export function normalizeRunExecutionPolicy(request?: PolicyRequest | null): RunExecutionPolicy {
  const asked = (request ?? {}) as Readonly<Record<string, unknown>>;
  const isBlank = (field: string) =>
    asked[field] === undefined || asked[field] === null || asked[field] === '';
  const given = Object.fromEntries(
    Object.entries(asked).filter(([field]) => !isBlank(field)),
  ) as PolicyRequest;
  return {...defaultRunExecutionPolicy(), ...given, retry: retryPolicyOrDefault(given.retry)};
}

const strictPolicy = z.strictObject({
  ...policyShape,
  resources: z.strictObject(resourceShape),
  retry: z.strictObject(retryShape),
});

/** @throws {ByError} POLICY_INVALID with the field and what it may be. */
export function validateRunExecutionPolicy(policy: RunExecutionPolicy): void {
  checkInput(strictPolicy, policy, 'POLICY_INVALID');
}

/** @throws {ByError} POLICY_INVALID for a request that no task could be made of. */
export const checkPolicyRequest = (request: PolicyRequest): void =>
  validateRunExecutionPolicy(normalizeRunExecutionPolicy(request));

const STRICTER = {
  security: ['deny', 'allowlist', 'full'],
  ask: ['always', 'on-miss', 'off'],
  askFallback: ['deny', 'allow'],
  workspaceAccess: ['none', 'ro', 'rw'],
} as const;

/** Of an agent's policy and a request's, whatever allows less; tries and delays are the request's. */
export function stricterPolicy(agent: RunExecutionPolicy, request: RunExecutionPolicy): RunExecutionPolicy {
  const stricter = <K extends keyof typeof STRICTER>(field: K): RunExecutionPolicy[K] => {
    const order: readonly string[] = STRICTER[field];
    return order.indexOf(agent[field]) < order.indexOf(request[field]) ? agent[field] : request[field];
  };
  return {
    ...request,
    security: stricter('security'),
    ask: stricter('ask'),
    askFallback: stricter('askFallback'),
    workspaceAccess: stricter('workspaceAccess'),
    networkEnabled: agent.networkEnabled && request.networkEnabled,
    ...(agent.interactive === false ? {interactive: false} : {}),
    resources: lesser(agent.resources, request.resources),
    requireEnforcement: [...new Set([...agent.requireEnforcement, ...request.requireEnforcement])],
  };
}

/** The policy a run is held to, where the request left something open: whoever said nothing of questions lets them be asked. */
export const materialisedPolicy = (policy: RunExecutionPolicy): RunExecutionPolicy => ({
  ...policy,
  interactive: policy.interactive ?? true,
});

type Resources = RunExecutionPolicy['resources'];

function lesser(a: Resources, b: Resources): Resources {
  const found: Resources = {...b};
  for (const name of ['cpuMillicores', 'memoryBytes', 'gpuCount'] as const) {
    const least = Math.min(a[name] ?? Infinity, b[name] ?? Infinity);
    if (least !== Infinity) found[name] = least;
  }
  return found;
}

/**
 * The pool of a run: those with the same answer share one. Tries and timeouts do not matter to it.
 * @param agentId of the profile; the agent type where there is none.
 */
export function executionClassKey(
  workspace: string,
  agentId: string | null,
  lane: string | null,
  policy: RunExecutionPolicy,
): string {
  const {host, security, ask, runtimeType, workspaceAccess, networkEnabled, interactive, resources} = policy;
  const {cpuMillicores = null, memoryBytes = null, gpuCount = null} = resources;
  const parts = [
    ...[workspace, agentId, lane, host, security, ask, runtimeType, workspaceAccess],
    ...[networkEnabled, interactive ?? null, cpuMillicores, memoryBytes, gpuCount],
  ];
  return `execclass_${createHash('sha256').update(JSON.stringify(parts)).digest('hex').slice(0, 32)}`;
}

/** Milliseconds before the try after `tries` of them. */
export function retryDelayMs(
  {delayMs, backoff = 'fixed', maxDelayMs = MAX_DELAY_MS}: RunRetryPolicy,
  tries: number,
): number {
  const wait = backoff === 'exponential' ? delayMs * 2 ** (tries - 1) : delayMs;
  return Math.min(wait, maxDelayMs);
}
