-- A wakeup is still worked on: nobody else may lead it, and those who joined are not forgotten.
--
-- KEYS[1]  dedupe   string with TTL: the execution whose request is being carried out
-- KEYS[2]  waiters  hash: execution id -> until when it waits, in ms by this server's clock
-- ARGV[1]  execution_id  whose request is carried out
-- ARGV[2]  dedupe_ttl_s
-- ARGV[3]  waiters_ttl_s
--
-- Returns for how many ms the most patient of those who wait still waits; 0 or less if nobody does.
local leader = redis.call('GET', KEYS[1])
if not leader or leader == ARGV[1] then redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2]) end
if redis.call('TTL', KEYS[2]) >= 0 then redis.call('EXPIRE', KEYS[2], ARGV[3]) end
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local longest = 0
for _, until_ms in ipairs(redis.call('HVALS', KEYS[2])) do
  longest = math.max(longest, (tonumber(until_ms) or 0) - now)
end
return longest
