-- Set what an operator wants of a worker, and tell the worker if it lives.
--
-- KEYS[1]  admin      hash: lifecycle, reason, updated_at; x_force, x_exhausted and x_rejoined are ours
-- KEYS[2]  stream     the worker's own stream
-- KEYS[3]  lease      string with TTL: the presence document
-- ARGV[1]  lifecycle  to be written; '' removes the hash
-- ARGV[2]  reason
-- ARGV[3]  now_ms
-- ARGV[4]  force      '1': running work is not waited for
-- ARGV[5]  from       lifecycles it may be set from, between commas: ',active,suspended,'
-- ARGV[6]  document   the command for the stream; '' for none
-- ARGV[7]  exhausted  '1': it holds until the worker's quota is there again, and nobody else decided it
-- ARGV[8]  only_ours  '1': only where that is why it is as it is
--
-- Returns {verdict, lifecycle before, entry id, lease}: 'set', or 'kept' if it was in no lifecycle of `from`, or so for another reason. The entry id
-- is '' if nobody was told.
-- One script, because the lifecycle a second operator set meanwhile must not be overwritten unseen. A worker without a
-- lease is not told: it reads the hash when it starts, and workers of other SDKs would carry out a command that waited in
-- the stream though the hash was changed since.
local before = redis.call('HGET', KEYS[1], 'lifecycle')
if before ~= 'suspended' and before ~= 'evicted' then before = 'active' end
local lease = redis.call('GET', KEYS[3]) or ''
if not string.find(ARGV[5], ',' .. before .. ',', 1, true) then return {'kept', before, '', lease} end
if ARGV[8] == '1' then
  local marks = redis.call('HMGET', KEYS[1], 'updated_at', 'x_exhausted')
  if not marks[2] or marks[1] ~= marks[2] then return {'kept', before, '', lease} end
end

if ARGV[1] == '' then
  redis.call('DEL', KEYS[1])
else
  redis.call('HSET', KEYS[1], 'lifecycle', ARGV[1], 'reason', ARGV[2], 'updated_at', ARGV[3])
  -- Beside the time, because other SDKs overwrite the three fields they know and leave these.
  redis.call('HDEL', KEYS[1], 'x_exhausted', 'x_rejoined')
  if ARGV[7] == '1' then redis.call('HSET', KEYS[1], 'x_exhausted', ARGV[3]) end
  if ARGV[4] == '1' then
    redis.call('HSET', KEYS[1], 'x_force', ARGV[3])
  else
    redis.call('HDEL', KEYS[1], 'x_force')
  end
end
local entry = ''
if lease ~= '' and ARGV[6] ~= '' then entry = redis.call('XADD', KEYS[2], '*', 'data', ARGV[6]) end
return {'set', before, entry, lease}
