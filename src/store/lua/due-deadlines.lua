-- Executions whose deadline has passed, the longest past first. Each is looked at again later, unless it is taken out.
--
-- KEYS[1]  deadlines  sorted set: '{session}/{execution}/{deadline}' by when it is looked at
-- ARGV[1]  again_ms   when what is handed out here is handed out next
-- ARGV[2]  count      most members
--
-- Returns {now in Unix milliseconds, member...}
-- One script, so that of several who sweep at once each gets others.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local answer = {string.format('%.0f', now)}
for _, member in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', answer[1], 'LIMIT', 0, ARGV[2])) do
  redis.call('ZADD', KEYS[1], string.format('%.0f', now + tonumber(ARGV[1])), member)
  answer[#answer + 1] = member
end
return answer
