-- Create a schedule, unless its name is taken.
--
-- KEYS[1]  name      string: the id behind the name
-- KEYS[2]  schedule  hash
-- KEYS[3]  all       sorted set of schedules, by creation
-- KEYS[4]  due       sorted set of those that will fire, by when to look at them
-- ARGV[1]  id
-- ARGV[2]  document     its definition, JSON
-- ARGV[3]  active       '1' or '0'
-- ARGV[4]  next_run_at  Unix milliseconds, or '' for a paused one
-- ARGV[5]  look_at      when to look at it, or ''
--
-- Returns the id behind the name: another one if it was taken.
if redis.call('SET', KEYS[1], ARGV[1], 'NX') == false then
  local known = redis.call('GET', KEYS[1])
  if known ~= ARGV[1] then return known end
end
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
redis.call('HSET', KEYS[2], 'schedule_id', ARGV[1], 'doc', ARGV[2], 'active', ARGV[3], 'version', 1,
  'created_at', now, 'updated_at', now)
redis.call('ZADD', KEYS[3], now, ARGV[1])
if ARGV[4] ~= '' then
  redis.call('HSET', KEYS[2], 'next_run_at', ARGV[4])
  redis.call('ZADD', KEYS[4], ARGV[5], ARGV[1])
end
return ARGV[1]
