-- Let a schedule that is due go on to its next tick, and take it upon oneself to submit those that are due.
--
-- KEYS[1]  schedule  hash
-- KEYS[2]  due       sorted set of those that will fire, by when to look at them
-- KEYS[3]  firing    sorted set of those with ticks that are being submitted, by when somebody else may take these over
-- KEYS[4]  ticks     stream: what became of its ticks
-- ARGV[1]  id
-- ARGV[2]  next_run_at  as it was read
-- ARGV[3]  version      as it was read
-- ARGV[4]  owner        of the ticks from now on
-- ARGV[5]  lease_ms     how long nobody else may take them
-- ARGV[6]  firing       JSON array of the ticks to submit, or '' for none
-- ARGV[7]  next         the tick after these, or '' for none
-- ARGV[8]  look_at      when to look at it then, or ''
-- ARGV[9]  ending       why there is no next one, or ''
-- ARGV[10] missed       how many ticks are left out; then the first and the last of them, and why
-- ARGV[11] missed_from
-- ARGV[12] missed_until
-- ARGV[13] reason
-- ARGV[14] cap          entries the stream keeps
--
-- Returns 'won'; 'lost' if it went on meanwhile, was changed or paused, or has ticks under way.
-- One script, because of replicas that see the same tick one must win, and the ticks must be known to be its own from
-- the very moment the schedule goes on: else they were lost with it.
local held = redis.call('HMGET', KEYS[1], 'active', 'next_run_at', 'version', 'firing')
if held[1] ~= '1' or held[2] ~= ARGV[2] or held[3] ~= ARGV[3] or held[4] then return 'lost' end

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if ARGV[7] == '' then
  redis.call('HDEL', KEYS[1], 'next_run_at')
  redis.call('ZREM', KEYS[2], ARGV[1])
  if ARGV[6] == '' then
    redis.call('HSET', KEYS[1], 'active', '0', 'finished_reason', ARGV[9])
  else
    redis.call('HSET', KEYS[1], 'ending', ARGV[9])
  end
else
  redis.call('HSET', KEYS[1], 'next_run_at', ARGV[7])
  redis.call('ZADD', KEYS[2], ARGV[8], ARGV[1])
end
if ARGV[6] ~= '' then
  redis.call('HSET', KEYS[1], 'firing', ARGV[6], 'firing_owner', ARGV[4], 'firing_at', string.format('%.0f', now))
  redis.call('ZADD', KEYS[3], string.format('%.0f', now + ARGV[5]), ARGV[1])
end
if ARGV[10] ~= '0' then
  redis.call('HINCRBY', KEYS[1], 'missed_count', ARGV[10])
  redis.call('XADD', KEYS[4], 'MAXLEN', '~', ARGV[14], '*', 'at', string.format('%.0f', now), 'outcome', 'missed',
    'tick', ARGV[11], 'until', ARGV[12], 'count', ARGV[10], 'reason', ARGV[13])
end
return 'won'
