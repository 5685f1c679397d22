/**
 * Rows without anything for src/protocol to check, by id, with the reason. Those that a program of ours must live up
 * to are in behavioural.ts as well, and a test sees to it that the first reason is given only to them.
 */
export const BEHAVIOUR = 'What a running program did; there is no document in the row.';

export const notApplicable: Readonly<Record<string, string>> = {
  'availability/delivery_gate.dispatch_ready twice': BEHAVIOUR,
  'client/read.consume_breaks_after_2nd': BEHAVIOUR,
  'control/redelivery.same_consumer_name_restarts_with_a_pending_entry': BEHAVIOUR,
  'control/group_start_id.backlog_before_group_creation': BEHAVIOUR,
  'hazards/saturated_consumer_exits': BEHAVIOUR,
  'hazards/stale_evict_command_executed_after_rejoin': BEHAVIOUR,
  'metrics/worker_snapshot': BEHAVIOUR,
  'registry/v1.claim_twice': BEHAVIOUR,
  'registry/v1.heartbeat_by_instance_without_token_on_owned_lease': BEHAVIOUR,
  'registry/v1.heartbeat_by_instance_with_other_token': BEHAVIOUR,
  'registry/v1.release_with_other_token': BEHAVIOUR,
  'registry/v1.after_release_and_unregister': BEHAVIOUR,
  'registry/v2.after_release_and_unregister': BEHAVIOUR,
  'ts_sdk/consume.agent_type.resume_on_terminal': BEHAVIOUR,

  'events/fixed_stream_name':
    'An option of the Python emitter that nothing uses by default, and that we do not offer.',
  'trace/execution_record.to_dict':
    'A Python class that is written nowhere: records on the wire are those of §5.6.',
};
