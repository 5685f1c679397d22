-- Write into what a library keeps for a session, if the attempt still owns its execution.
--
-- KEYS[1]  registry  hash of the session
-- KEYS[2]  storage   hash of the library's, in the same slot
-- ARGV[1]  execution_id
-- ARGV[2]  fence       '{attempt}@{owner}'; '' writes for nobody's execution
-- ARGV[3]  ttl_s       lifetime, renewed by every write
-- ARGV[4]  max_fields  fields it may hold
-- ARGV[5]  removed     how many of what follows are names of fields to remove; they go first
-- ARGV[6+] those names, then fields and values
--
-- Returns 'ok', 'fenced' or 'full'; nothing was written then.
-- One script, because a check before the write would let a worker that was paused in between write after its successor.
if ARGV[2] ~= '' then
  local record = redis.call('HGET', KEYS[1], 'exec:' .. ARGV[1])
  if not record or not string.find(record, '"' .. ARGV[2] .. '"', 1, true) then return 'fenced' end
end
local first = 6 + tonumber(ARGV[5])
if redis.call('HLEN', KEYS[2]) - tonumber(ARGV[5]) + (#ARGV - first + 1) / 2 > tonumber(ARGV[4]) then return 'full' end
for i = 6, first - 1 do redis.call('HDEL', KEYS[2], ARGV[i]) end
for i = first, #ARGV, 2 do redis.call('HSET', KEYS[2], ARGV[i], ARGV[i + 1]) end
if redis.call('EXISTS', KEYS[2]) == 1 then redis.call('EXPIRE', KEYS[2], ARGV[3]) end
return 'ok'
