import {expect} from 'vitest';
import {ByError} from '../../../src/errors.js';
import {
  autoGroupName,
  createKeys,
  selectKeySchema,
  type Keys,
  type KeySchema,
} from '../../../src/protocol/keys.js';
import {asDoc, at, failed, type Family, type Row} from '../vectors.js';

/** The ids all rows use. */
const IDS = {
  type: 'writer',
  worker: 'worker-01',
  session: 'sess-1',
  execution: 'exec-12345678',
  user: 'u-1',
  group: 'tg-11223344',
  trace: 'trace-1',
  service: 'svc',
};

/** Our key for each name a helper of an SDK has; Python, TypeScript and Java name some of them differently. */
const HELPERS: Readonly<Record<string, (keys: Keys) => string>> = {
  admin_workers: keys => keys.adminWorkers(),
  agent_configs_snapshot: keys => keys.agentConfigsSnapshot(IDS.execution),
  agent_type_denied: keys => keys.denied(IDS.type),
  agent_type_members: keys => keys.members(IDS.type),
  control_plane_agent_availability: keys => keys.availability(IDS.type),
  control_plane_agent_circuit: keys => keys.circuit(IDS.type),
  control_plane_circuit_breaker_key: keys => keys.circuit(IDS.type),
  control_plane_agent_fallback: keys => keys.fallback(IDS.type),
  control_plane_deadletter_stream: keys => keys.deadletter(),
  control_plane_delivery_pending_stream: keys => keys.deliveryPending(),
  control_plane_pending_queue: keys => keys.deliveryPending(),
  control_plane_tenant_quota: keys => keys.userQuota(IDS.user),
  control_plane_user_quota: keys => keys.userQuota(IDS.user),
  control_plane_quota_key: keys => keys.userQuota(IDS.user),
  control_plane_wakeup_dedupe: keys => keys.wakeupDedupe(IDS.type, IDS.user, 'eu'),
  control_plane_wakeup_result_stream: keys => keys.wakeupResult(IDS.execution),
  control_plane_decision_stream: keys => keys.wakeupResult(IDS.execution),
  control_plane_wakeup_stream: keys => keys.wakeup(),
  control_plane_management_stream: keys => keys.wakeup(),
  ctrl_stream: keys => keys.ctrlStream(IDS.type),
  known_workers: keys => keys.knownWorkers(),
  plugin_reload_ack_stream: keys => keys.pluginReloadAck('reload-1'),
  sd_active_instances: keys => keys.sdActive(IDS.service),
  sd_instance_details: keys => keys.sdInstances(IDS.service),
  sd_services: keys => keys.sdServices(),
  session_data_checkpoint: keys => keys.checkpoint(IDS.session, 'ui'),
  session_data_stream: keys => keys.sessionDataStream(IDS.session),
  session_registry: keys => keys.sessionRegistry(IDS.session),
  task_group: keys => keys.taskGroup(IDS.group),
  task_group_results: keys => keys.taskGroupResults(IDS.group),
  trace_index_agent: keys => keys.traceIndexAgent(IDS.type),
  trace_index_session: keys => keys.traceIndexSession(IDS.session),
  trace_index_worker: keys => keys.traceIndexWorker(IDS.worker),
  trace_meta: keys => keys.traceMeta(IDS.trace),
  trace_spans: keys => keys.traceSpans(IDS.trace),
  worker_active_execution_index: keys => keys.workerActiveIndex(IDS.worker),
  worker_active_executions: keys => keys.workerActiveExecutions(IDS.worker),
  worker_active_snapshots: keys => keys.workerActiveSnapshots(IDS.worker),
  worker_admin: keys => keys.workerAdmin(IDS.worker),
  worker_admin_state: keys => keys.workerAdmin(IDS.worker),
  worker_admin_scan_pattern: keys => keys.adminPattern(),
  worker_ctrl_stream: keys => keys.workerCtrlStream(IDS.worker),
  worker_declared_agent_types: keys => keys.declaredTypes(IDS.worker),
  worker_executions: keys => keys.workerExecutions(IDS.worker),
  worker_history_snapshots: keys => keys.workerHistorySnapshots(IDS.worker),
  worker_lock: keys => keys.workerLock(IDS.worker),
  worker_online_lease: keys => keys.workerLease(IDS.worker),
  worker_online_lease_scan_pattern: keys => keys.leasePattern(),
  worker_status: keys => keys.workerStatus(IDS.worker),
};

/** K1: the TypeScript SDK keeps its traces elsewhere in v1. */
const TYPESCRIPT_TRACES: Readonly<Record<string, (keys: Keys) => string>> = {
  trace_index_agent: keys => keys.tsTrace.indexAgent(IDS.type),
  trace_index_session: keys => keys.tsTrace.indexSession(IDS.session),
  trace_index_worker: keys => keys.tsTrace.indexWorker(IDS.worker),
  trace_meta: keys => keys.tsTrace.meta(IDS.trace),
  trace_spans: keys => keys.tsTrace.spans(IDS.trace),
};

const keysOf = (row: Row) => createKeys({schema: at(row.input, 'schema') as KeySchema});

function checkName(row: Row): void {
  const name = row.name.replace(/[A-Z]/g, letter => `_${letter.toLowerCase()}`);
  const helper = (row.sdk.startsWith('typescript') ? TYPESCRIPT_TRACES[name] : undefined) ?? HELPERS[name];
  expect(helper, `no key of ours is the counterpart of ${row.name}`).toBeDefined();
  expect(helper?.(keysOf(row))).toBe(row.expected);
}

function checkSchemaVersion(row: Row): void {
  const env = asDoc(row.input) as Record<string, string>;
  if (env['REDIS_KEY_SCHEMA_VERSION'] === '') {
    expect(selectKeySchema(env)).toBe('v1'); // K2: empty is unset; Python refuses it.
  } else if (failed(row)) {
    expect(() => selectKeySchema(env)).toThrow(ByError);
  } else {
    expect(selectKeySchema(env)).toBe(at(row.expected, 'ok'));
  }
}

export const keysFamily: Family = {
  file: 'keys',
  checks: [
    [/^schema_version$/, checkSchemaVersion],
    [
      /^worker_id_from_online_lease_key$/,
      row => expect(keysOf(row).workerIdOfLease(at(row.input, 'key') as string) ?? null).toBe(row.expected),
    ],
    [/^autoGroupName\[b,a\]$/, row => expect(autoGroupName(['b', 'a'])).toBe(row.expected)],
    [/./, checkName],
  ],
};
