-- Say that a worker reads the on-call work of an agent type, or that it does not any more.
--
-- KEYS[1]  readers    sorted set: workers that do, by when they are forgotten
-- ARGV[1]  worker_id
-- ARGV[2]  ttl_ms     how long it counts as one without being said again; '0': it is none any more
--
-- The set is there only while somebody reads: whoever sends asks whether it exists.
-- One script, because the times in it are by the clock of the server.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local ttl = tonumber(ARGV[2])
if ttl > 0 then
  redis.call('ZADD', KEYS[1], now + ttl, ARGV[1])
else
  redis.call('ZREM', KEYS[1], ARGV[1])
end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
local last = redis.call('ZRANGE', KEYS[1], '-1', '-1', 'WITHSCORES')
if #last > 0 then redis.call('PEXPIREAT', KEYS[1], last[2]) end
return 1
