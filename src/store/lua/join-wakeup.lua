-- A wakeup request joins the wakeup of its agent type, or starts it.
--
-- KEYS[1]  dedupe   string with TTL: the execution whose request is being carried out
-- KEYS[2]  waiters  hash: execution id -> until when it waits, in ms by this server's clock
-- ARGV[1]  execution_id
-- ARGV[2]  since_ms   when it was asked, by this server's clock; '' for now
-- ARGV[3]  timeout_ms how long its caller waits from then on
-- ARGV[4]  dedupe_ttl_s
-- ARGV[5]  waiters_ttl_s
--
-- Returns {'lead', ms} if the caller must carry out the wakeup; somebody waits for so long, and nobody if that is not
--         above 0; {'join', ms} if somebody already does; {'late', ms} if nobody does and its caller waits no more.
-- One script, because a waiter that joins just after the answer was given would wait for nothing.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local until_ms = (tonumber(ARGV[2]) or now) + tonumber(ARGV[3])
local mine = until_ms - now
local leader = redis.call('GET', KEYS[1])
if mine <= 0 and not leader then return {'late', mine} end
if mine > 0 then
  redis.call('HSET', KEYS[2], ARGV[1], string.format('%.0f', until_ms))
  redis.call('EXPIRE', KEYS[2], ARGV[5])
end
if leader and leader ~= ARGV[1] then return {'join', mine} end
redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[4])
local longest = mine
for _, other in ipairs(redis.call('HVALS', KEYS[2])) do
  longest = math.max(longest, (tonumber(other) or 0) - now)
end
return {'lead', longest}
