-- Append events of one attempt to its session's data stream, if the attempt still owns the execution.
--
-- KEYS[1]  registry  hash of the session
-- KEYS[2]  events    data stream of the session
-- ARGV[1]  execution_id
-- ARGV[2]  fence     '{attempt}@{owner}', unique to the attempt
-- ARGV[3]  ttl_s     new lifetime of the data stream, or '0' to leave it
-- ARGV[4+] events    JSON, in order
--
-- Returns 1, or 0 if another attempt owns the execution: nothing was written.
-- One script, because a check before the write would let a worker that was paused in between write after its
-- successor. The fence is looked for as text: decoding the record for every batch of tokens would cost more than
-- the write, and no other field can hold an attempt's random owner name.
local record = redis.call('HGET', KEYS[1], 'exec:' .. ARGV[1])
if not record or not string.find(record, '"' .. ARGV[2] .. '"', 1, true) then return 0 end
for i = 4, #ARGV do redis.call('XADD', KEYS[2], '*', 'data', ARGV[i]) end
if ARGV[3] ~= '0' then redis.call('EXPIRE', KEYS[2], ARGV[3]) end
return 1
