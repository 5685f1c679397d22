/** What a run's policy says, and what of it holds where it runs. */
import {resolveEnforcement, type Enforcement} from '../../sandbox/enforcement.js';
import type {WorkerAbilities} from '../../protocol/orchestration/abilities.js';
import type {RunExecutionPolicy} from '../../protocol/orchestration/policy.js';
import {paint, type Text} from '../printer.js';

const MIB = 1_048_576;

/**
 * @param worker that runs it: what it has said of itself, which one of another SDK has not. Undefined: nobody runs it yet.
 */
export function policyLines(
  policy: RunExecutionPolicy,
  worker: {readonly abilities: WorkerAbilities | undefined} | undefined,
): readonly Text[] {
  const sandbox = worker?.abilities?.sandbox;
  const held = worker && resolveEnforcement(worker.abilities, policy.resources);
  const isolation = sandbox?.isolation ?? 'none';
  const level = (of: Enforcement | undefined, by = ''): Text =>
    of === undefined
      ? ''
      : [' ', (of === 'enforced' ? paint.green : paint.dim)(of), by === '' ? '' : paint.dim(` (${by})`)];
  const means = (of: Enforcement | undefined) =>
    of === 'enforced' ? `programs, by ${isolation}` : sandbox === undefined ? '' : 'not on this machine';
  const limitedBy = (of: Enforcement | undefined) => (of === 'enforced' ? 'programs, by cgroups' : '');
  const {cpuMillicores, memoryBytes, gpuCount} = policy.resources;
  const resources = [
    ...(cpuMillicores === undefined ? [] : [`cpu ${cpuMillicores}m`]),
    ...(memoryBytes === undefined ? [] : [`memory ${Math.round(memoryBytes / MIB)} MiB`]),
    ...(gpuCount === undefined ? [] : [`gpu ${gpuCount}`]),
  ].join(', ');
  const resolved = isolation === 'none' ? 'none' : 'process';
  return [
    [
      ...['security ', policy.security, level(held?.security), '   ask ', policy.ask, level(held?.ask)],
      ...(policy.interactive === false ? ['   interactive off', level(held?.interactive)] : []),
    ],
    [
      ...['network ', policy.networkEnabled ? 'on' : 'off'],
      policy.networkEnabled ? '' : level(held?.network_enabled, means(held?.network_enabled)),
      ...['   workspace ', policy.workspaceAccess],
      policy.workspaceAccess === 'rw' ? '' : level(held?.workspace_access, means(held?.workspace_access)),
    ],
    [
      `runtime ${policy.runtimeType} requested → ${worker === undefined ? 'not resolved yet' : `${resolved} resolved`}`,
      ...(resources === ''
        ? []
        : ['   resources ', resources, level(held?.resources, limitedBy(held?.resources))]),
    ],
  ];
}
