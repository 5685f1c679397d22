-- Say when an execution must have ended, before it is accepted.
--
-- KEYS[1]  deadlines  sorted set: '{session}/{execution}/{deadline}' by when it is looked at
-- ARGV[1]  member     '{session}/{execution}'
-- ARGV[2]  ms         milliseconds from now
--
-- Returns the deadline, in Unix milliseconds, as text.
-- One script, because only the server's clock may set what other processes are measured by.
local time = redis.call('TIME')
local at = string.format('%.0f', tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000) + tonumber(ARGV[2]))
redis.call('ZADD', KEYS[1], at, ARGV[1] .. '/' .. at)
return at
