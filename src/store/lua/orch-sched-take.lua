-- Take over the ticks of a schedule from a replica that was to submit them and did not.
--
-- KEYS[1]  schedule  hash
-- KEYS[2]  firing    sorted set of those with ticks that are being submitted, by when somebody else may take these over
-- KEYS[3]  ticks     stream: what became of its ticks
-- ARGV[1]  id
-- ARGV[2]  owner         who takes them
-- ARGV[3]  lease_ms      how long nobody else may
-- ARGV[4]  too_old_ms    ticks that were begun longer ago are left out: their task might be made a second time
-- ARGV[5]  cap           entries the stream keeps
--
-- Returns the ticks as a JSON array, or '' if there are none to take.
local free = redis.call('ZSCORE', KEYS[2], ARGV[1])
local held = redis.call('HMGET', KEYS[1], 'firing', 'firing_at', 'active')
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if not free or tonumber(free) > now then return '' end
local is_old = held[1] and tonumber(held[2]) < now - tonumber(ARGV[4])
if held[1] and held[3] == '1' and not is_old then
  redis.call('HSET', KEYS[1], 'firing_owner', ARGV[2])
  redis.call('ZADD', KEYS[2], string.format('%.0f', now + ARGV[3]), ARGV[1])
  return held[1]
end

redis.call('ZREM', KEYS[2], ARGV[1])
if held[1] then
  local ticks = cjson.decode(held[1])
  redis.call('HDEL', KEYS[1], 'firing', 'firing_owner', 'firing_at', 'firing_doc')
  redis.call('HINCRBY', KEYS[1], 'missed_count', #ticks)
  redis.call('XADD', KEYS[3], 'MAXLEN', '~', ARGV[5], '*', 'at', string.format('%.0f', now), 'outcome', 'missed',
    'tick', string.format('%.0f', ticks[1]), 'until', string.format('%.0f', ticks[#ticks]), 'count', #ticks,
    'reason', is_old and 'too old to be sure' or 'paused')
  local ending = held[3] == '1' and redis.call('HGET', KEYS[1], 'ending')
  if ending then
    redis.call('HSET', KEYS[1], 'active', '0', 'finished_reason', ending)
    redis.call('HDEL', KEYS[1], 'ending')
  end
end
return ''
