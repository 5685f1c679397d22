-- Put a schedule back to a tick that could not be submitted, or that waits for the task before it.
--
-- KEYS[1]  schedule  hash
-- KEYS[2]  due       sorted set of those that will fire, by when to look at them
-- KEYS[3]  firing    sorted set of those with ticks that are being submitted
-- ARGV[1]  id
-- ARGV[2]  owner        who deals with the ticks
-- ARGV[3]  tick         the first that is not submitted
-- ARGV[4]  next_run_at  of the schedule as it went on, or ''
-- ARGV[5]  cause        failed or held
-- ARGV[6]  wait_ms      until the next try; doubled with each failure
-- ARGV[7]  longest_ms   that it may become
--
-- Returns the time of the next try in Unix milliseconds; 0 if the schedule was changed, paused or deleted meanwhile: then
-- the tick goes with what was.
local held = redis.call('HMGET', KEYS[1], 'firing_owner', 'active', 'next_run_at', 'retries')
if held[1] ~= ARGV[2] then return 0 end
redis.call('HDEL', KEYS[1], 'firing', 'firing_owner', 'firing_at', 'firing_doc')
redis.call('ZREM', KEYS[3], ARGV[1])
if held[2] ~= '1' or (held[3] or '') ~= ARGV[4] then return 0 end

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local wait = tonumber(ARGV[6])
if ARGV[5] == 'failed' then
  local retries = math.min(tonumber(held[4] or '0'), 30)
  wait = math.min(wait * 2 ^ retries, tonumber(ARGV[7]))
  redis.call('HSET', KEYS[1], 'retries', retries + 1, 'reverted_tick', ARGV[3])
else
  redis.call('HSET', KEYS[1], 'held_until', string.format('%.0f', now))
end
local try = string.format('%.0f', now + wait)
redis.call('HSET', KEYS[1], 'next_run_at', ARGV[3], 'retry_at', try)
redis.call('HDEL', KEYS[1], 'ending')
redis.call('ZADD', KEYS[2], try, ARGV[1])
return tonumber(try)
