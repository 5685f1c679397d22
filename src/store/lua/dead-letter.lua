-- Move an entry to the dead letters.
--
-- KEYS[1]  deadletter  stream
-- KEYS[2]  source      stream the entry is in
-- ARGV[1]  record      JSON, holds the whole command
-- ARGV[2]  group       consumer group of the source
-- ARGV[3]  entry       id in the source
-- ARGV[4]  limit       most dead letters, or '0'
--
-- Returns the dead letter's id; '' if somebody else settled the entry; 'full': nothing was changed.
-- One script, because an acknowledged entry without its dead letter is lost work.
local limit = tonumber(ARGV[4])
if limit > 0 and redis.call('XLEN', KEYS[1]) >= limit then
  local held = redis.call('XPENDING', KEYS[2], ARGV[2], ARGV[3], ARGV[3], 1)
  return #held == 0 and '' or 'full'
end
if redis.call('XACK', KEYS[2], ARGV[2], ARGV[3]) == 0 then return '' end
redis.call('XDEL', KEYS[2], ARGV[3])
return redis.call('XADD', KEYS[1], '*', 'data', ARGV[1])
