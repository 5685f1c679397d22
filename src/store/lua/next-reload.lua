-- Number the next reload of an agent type's plugins. The same reload id again is the same reload.
--
-- KEYS[1]  reload     hash: version, reload_id, reason, at
-- ARGV[1]  reload_id
-- ARGV[2]  reason
--
-- Returns the number: one more than that of the reload before.
if redis.call('HGET', KEYS[1], 'reload_id') == ARGV[1] then
  return tonumber(redis.call('HGET', KEYS[1], 'version'))
end
local version = redis.call('HINCRBY', KEYS[1], 'version', 1)
redis.call('HSET', KEYS[1], 'reload_id', ARGV[1], 'reason', ARGV[2], 'at', redis.call('TIME')[1])
return version
