/**
 * What a policy is worth on a worker: orchestration.md §10.1. `enforced` is said only of what the worker has shown that
 * it can do, for programs that the agent starts with `ctx.spawnSandboxed`; what an agent's own code does in the worker's
 * process is held back by nothing.
 */
import type {SandboxAbilities} from './probe.js';

export type Enforcement = 'enforced' | 'advisory' | 'unsupported';

/** Fields of a policy that say what a run may do; retries and timeouts are kept by whoever dispatches it. */
export const ENFORCED_FIELDS = [
  ...(['host', 'security', 'ask', 'runtime_type', 'workspace_access', 'network_enabled'] as const),
  ...(['interactive', 'cpu_millicores', 'memory_bytes', 'gpu_count'] as const),
];
export type EnforcedField = (typeof ENFORCED_FIELDS)[number];

/** What a worker of ours has published of itself; undefined for one of another SDK, or one that has not said. */
export interface WorkerAbilities {
  readonly sandbox: SandboxAbilities | undefined;
}

export function resolveEnforcement(
  worker: WorkerAbilities | undefined,
): Readonly<Record<EnforcedField, Enforcement>> {
  if (worker === undefined) return ofForeignWorker;
  const {sandbox} = worker;
  const held = (ability: boolean | undefined): Enforcement => (ability ? 'enforced' : 'advisory');
  return {
    host: sandbox?.network && sandbox.workspace ? 'enforced' : 'unsupported',
    security: 'enforced',
    ask: 'enforced',
    // No OCI runtime is started by us.
    runtime_type: 'unsupported',
    workspace_access: held(sandbox?.workspace),
    network_enabled: held(sandbox?.network),
    interactive: 'enforced',
    cpu_millicores: sandbox?.limits ? 'advisory' : 'unsupported',
    // A limit for each process, not for all of them together.
    memory_bytes: sandbox?.limits ? 'advisory' : 'unsupported',
    gpu_count: 'unsupported',
  };
}

const ofForeignWorker = {
  ...{host: 'unsupported', security: 'advisory', ask: 'advisory', runtime_type: 'unsupported'},
  ...{workspace_access: 'advisory', network_enabled: 'advisory', interactive: 'advisory'},
  ...{cpu_millicores: 'unsupported', memory_bytes: 'unsupported', gpu_count: 'unsupported'},
} as const satisfies Record<EnforcedField, Enforcement>;

/**
 * Required fields that not every worker of the agent type enforces. Their stream is shared: any of them may take the
 * command. No worker at all enforces nothing.
 */
export function unenforceable(
  required: readonly EnforcedField[],
  workers: readonly (WorkerAbilities | undefined)[],
): EnforcedField[] {
  const each = workers.map(resolveEnforcement);
  return required.filter(field => each.length === 0 || each.some(known => known[field] !== 'enforced'));
}
