-- Say in the record that some of a group have answered and others are waited for: spec §6.8. For people.
--
-- KEYS[1]  registry  hash of the session
-- ARGV[1]  execution_id
-- ARGV[2]  from      status of an execution that none of its group has answered yet
-- ARGV[3]  to        status of one that waits for the others
-- ARGV[4]  now_ms    for the record's timestamps, which are information only
--
-- Returns 1 if it was changed.
-- One script, because a turn may begin between the look and the change.
local text = redis.call('HGET', KEYS[1], 'exec:' .. ARGV[1])
if not text then return 0 end
local record = decode(text)
if record.status ~= ARGV[2] then return 0 end
record.status, record.updated_at = ARGV[3], tonumber(ARGV[4])
if type(record.timeline) ~= 'table' then record.timeline = {} end
record.timeline[#record.timeline + 1] = {status = ARGV[3], timestamp = record.updated_at}
redis.call('HSET', KEYS[1], 'exec:' .. ARGV[1], encode(record))
return 1
