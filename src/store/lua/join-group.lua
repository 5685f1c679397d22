-- Count the answer of one member of a group, once, and say whether the caller goes on with it.
--
-- KEYS[1]  group    hash: total, completed, source_agent_type as every SDK has them; of ours x_need (answers that must
--                   have succeeded, '' if all are waited for), x_succeeded, x_done, x_rest ('cancel' while calls
--                   that are not waited for any more are to be cancelled), and x_member:{message} for each call
-- KEYS[2]  results  hash: message id of the call -> its result
-- ARGV[1]  member   message id of the call that is answered
-- ARGV[2]  result   JSON
-- ARGV[3]  success  '1' if it succeeded
-- ARGV[4]  ttl_s    lifetime of both, in seconds
--
-- Returns 'none'     there is no such group
--         'stranger' the group has no such member
--         'waiting'  others are waited for
--         'done'     with this answer the group is done; said again for the same member, whose turn may have crashed
--         'rest'     the same, and the calls without an answer are to be cancelled
--         'late'     the group was done before
-- One script, because two answers at the same moment must not both be the last, or neither.
local group, results, member = KEYS[1], KEYS[2], ARGV[1]
local total = tonumber(redis.call('HGET', group, 'total') or '')
if not total then return 'none' end
-- Groups of other SDKs do not name their members.
local need = redis.call('HGET', group, 'x_need')
if need and redis.call('HEXISTS', group, 'x_member:' .. member) == 0 then return 'stranger' end

local completed = tonumber(redis.call('HGET', group, 'completed') or '') or 0
if redis.call('HSETNX', results, member, ARGV[2]) == 1 then
  completed = redis.call('HINCRBY', group, 'completed', 1)
  if ARGV[3] == '1' then redis.call('HINCRBY', group, 'x_succeeded', 1) end
end
redis.call('EXPIRE', group, ARGV[4])
redis.call('EXPIRE', results, ARGV[4])

local function with_rest()
  return completed < total and redis.call('HGET', group, 'x_rest') == 'cancel' and 'rest' or 'done'
end
local done = redis.call('HGET', group, 'x_done')
if done then return done == member and with_rest() or 'late' end
local succeeded = tonumber(redis.call('HGET', group, 'x_succeeded') or '') or 0
local wanted = tonumber(need or '')
local enough = completed >= total
if wanted then enough = enough or succeeded >= wanted or succeeded + total - completed < wanted end
if not enough then return 'waiting' end
redis.call('HSET', group, 'x_done', member)
return with_rest()
