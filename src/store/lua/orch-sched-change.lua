-- Change a schedule as a person wants it, if nobody else changed it since it was read.
--
-- KEYS[1]  schedule  hash
-- KEYS[2]  due       sorted set of those that will fire, by when to look at them
-- KEYS[3]  firing    sorted set of those with ticks that are being submitted
-- ARGV[1]  id
-- ARGV[2]  version       the one that was read
-- ARGV[3]  look_at       when to look at it from now on; '' never, '=' as before
-- ARGV[4]  stops_firing  '1': ticks under way that are not submitted yet are given up
-- then     pairs of a field and its value; '' takes the field away
--
-- Returns {'changed', version}, {'conflict', version} or {'gone', ''}.
local version = redis.call('HGET', KEYS[1], 'version')
if not version then return {'gone', ''} end
if version ~= ARGV[2] then return {'conflict', version} end

-- Ticks under way are submitted as they were won: the same key must mean the same request.
local is_first_change = redis.call('HGET', KEYS[1], 'firing') and redis.call('HEXISTS', KEYS[1], 'firing_doc') == 0
if is_first_change then redis.call('HSET', KEYS[1], 'firing_doc', redis.call('HGET', KEYS[1], 'doc')) end
for at = 5, #ARGV, 2 do
  if ARGV[at + 1] == '' then
    redis.call('HDEL', KEYS[1], ARGV[at])
  else
    redis.call('HSET', KEYS[1], ARGV[at], ARGV[at + 1])
  end
end
local time = redis.call('TIME')
redis.call('HSET', KEYS[1], 'updated_at', string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000)))
if ARGV[3] == '' then
  redis.call('ZREM', KEYS[2], ARGV[1])
elseif ARGV[3] ~= '=' then
  redis.call('ZADD', KEYS[2], ARGV[3], ARGV[1])
end
if ARGV[4] == '1' then
  redis.call('HDEL', KEYS[1], 'firing', 'firing_owner', 'firing_at', 'firing_doc')
  redis.call('ZREM', KEYS[3], ARGV[1])
end
return {'changed', tostring(redis.call('HINCRBY', KEYS[1], 'version', 1))}
