/**
 * What a policy is worth on a worker: orchestration.md §10.1. `enforced` is said only of what the worker has shown that
 * it can do, for programs that the agent starts with `ctx.spawnSandboxed`; what an agent's own code does in the worker's
 * process is held back by nothing.
 */
import type {WorkerAbilities} from '../protocol/orchestration/abilities.js';
import type {PolicyField, RunExecutionPolicy} from '../protocol/orchestration/policy.js';

export type Enforcement = 'enforced' | 'advisory' | 'unsupported';

/** @param resources what the policy asks of these. */
export function resolveEnforcement(
  worker: WorkerAbilities | undefined,
  resources: Resources = {},
): Readonly<Record<PolicyField, Enforcement>> {
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
    resources: resourcesBy(sandbox, resources),
    // Kept by whoever dispatches the run, whatever the worker is.
    retry: 'enforced',
  };
}

type Resources = Pick<RunExecutionPolicy['resources'], 'gpuCount'>;

/** Without groups of the kernel memory is limited for each process, not for all of them together; GPUs never are. */
function resourcesBy(sandbox: WorkerAbilities['sandbox'], {gpuCount = 0}: Resources): Enforcement {
  if (gpuCount > 0) return 'unsupported';
  if (sandbox?.resources) return 'enforced';
  return sandbox?.limits ? 'advisory' : 'unsupported';
}

const ofForeignWorker = {
  ...{host: 'unsupported', security: 'advisory', ask: 'advisory', runtime_type: 'unsupported'},
  ...{workspace_access: 'advisory', network_enabled: 'advisory', interactive: 'advisory'},
  ...{resources: 'unsupported', retry: 'enforced'},
} as const satisfies Record<PolicyField, Enforcement>;

/**
 * Required fields that not every worker of the agent type enforces. Their stream is shared: any of them may take the
 * command. No worker at all enforces nothing.
 */
export function unenforceable(
  required: readonly PolicyField[],
  workers: readonly (WorkerAbilities | undefined)[],
  resources?: Resources,
): PolicyField[] {
  const each = workers.map(worker => resolveEnforcement(worker, resources));
  return required.filter(field => each.length === 0 || each.some(known => known[field] !== 'enforced'));
}
