-- Say in the record that some of a group have answered and others are waited for: spec §6.8. For people.
--
-- KEYS[1]  registry  hash of the session
-- ARGV[1]  message_id    of the RESUME that brought an answer
-- ARGV[2]  from      status of an execution that none of its group has answered yet
-- ARGV[3]  to        status of one that waits for the others
-- ARGV[4]  now_ms    for the record's timestamps, which are information only
-- ARGV[5]  callee    message id of the call that is answered
--
-- Returns 1 if it was changed.
-- One script, because a turn may begin between the look and the change.
local id, record = resumed(KEYS[1], ARGV[1], ARGV[5])
if not id or record.status ~= ARGV[2] then return 0 end
record.status, record.updated_at = ARGV[3], tonumber(ARGV[4])
if type(record.timeline) ~= 'table' then record.timeline = {} end
record.timeline[#record.timeline + 1] = {status = ARGV[3], timestamp = record.updated_at}
redis.call('HSET', KEYS[1], 'exec:' .. id, encode(record))
return 1
