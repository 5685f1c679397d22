-- The pending deliveries of an agent type that have waited too long, oldest of each priority first.
--
-- KEYS[1]  queue     sorted set: entry id, best first; score = entry time in ms - priority * step
-- ARGV[1]  before_ms entries of before that time
-- ARGV[2]  step      what one priority weighs
-- ARGV[3]  count     most ids to return
--
-- Returns ids. One script, because it asks once for every priority that is there, and does not read the rest.
local before, step, count = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local found, from = {}, '-inf'
while #found < count do
  local head = redis.call('ZRANGEBYSCORE', KEYS[1], from, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
  if #head == 0 then break end
  local base = math.floor(tonumber(head[2]) / step) * step
  local last = string.format('(%.0f', base + before)
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], head[2], last, 'LIMIT', 0, count - #found)) do
    found[#found + 1] = id
  end
  from = string.format('%.0f', base + step)
end
return found
