/**
 * So that Python's workers of the same agent type can go on with what ours suspended: they resume only an execution
 * whose record names a snapshot of agent configs. Spec §6.7, §9.1.
 */
import type {ExecutionRecord} from '../protocol/execution.js';
import type {Keys} from '../protocol/keys.js';
import type {Finish} from '../store/executions.js';

/** Fields of the record of an execution that is about to wait. @param version of the worker's own configuration. */
export const resumableFields = (executionId: string, version = 0) => ({
  agent_configs_snapshot_key: executionId,
  agent_configs_version: version,
});

/** What becomes of the snapshot with the end of a turn: kept while it waits, forgotten once it has ended. */
export function snapshotAfter(
  keys: Keys,
  {executionId, agentConfigsSnapshotKey: named = ''}: ExecutionRecord,
  terminal: boolean,
  version = 0,
): Pick<Finish, 'snapshot'> {
  if (!terminal) return {snapshot: {key: keys.agentConfigsSnapshot(executionId), then: 'keep', version}};
  return named === '' ? {} : {snapshot: {key: keys.agentConfigsSnapshot(named), then: 'forget'}};
}
