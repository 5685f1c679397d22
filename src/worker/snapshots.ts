/**
 * So that Python's workers of the same agent type can go on with what ours suspended: they resume only an execution
 * whose record names a snapshot of agent configs. Spec §6.7, §9.1.
 */
import {emptyConfigsSnapshot, SNAPSHOT_TTL_S} from '../protocol/agent-config.js';
import type {ExecutionRecord} from '../protocol/execution.js';
import type {Store} from '../store/store.js';

const RETRY = {retryForMs: 5000};

/** @param version of the worker's own configuration. @returns fields of the record of an execution that is about to wait. */
export async function keepResumable(
  store: Store,
  executionId: string,
  version = 0,
): Promise<{agent_configs_snapshot_key: string; agent_configs_version: number}> {
  const key = store.keys.agentConfigsSnapshot(executionId);
  // What the snapshot can hold; it is shown and never compared.
  const shown = Math.min(version, 0xffff);
  await store.commands.run(
    redis => redis.set(key, emptyConfigsSnapshot(shown), 'EX', SNAPSHOT_TTL_S, 'NX'),
    RETRY,
  );
  return {agent_configs_snapshot_key: executionId, agent_configs_version: version};
}

/** It has ended. What stays behind has a lifetime. */
export async function forgetResumable(
  {store, log}: {readonly store: Store; readonly log: {debug(message: string): void}},
  {agentConfigsSnapshotKey: id}: ExecutionRecord,
): Promise<void> {
  if (id === undefined || id === '') return;
  await store.commands
    .run(redis => redis.del(store.keys.agentConfigsSnapshot(id)))
    .catch(() => log.debug('a snapshot of agent configs stays until its lifetime is over'));
}
