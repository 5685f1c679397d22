-- Entries that have been in a stream for a while, oldest first.
--
-- KEYS[1]  stream
-- ARGV[1]  age_ms  by the server's clock
-- ARGV[2]  count   most entries
--
-- Returns what XRANGE does.
local now = redis.call('TIME')
local until_ms = tonumber(now[1]) * 1000 + math.floor(tonumber(now[2]) / 1000) - tonumber(ARGV[1])
return redis.call('XRANGE', KEYS[1], '-', string.format('%.0f', until_ms), 'COUNT', ARGV[2])
