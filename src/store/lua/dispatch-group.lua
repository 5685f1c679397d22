-- Send the calls of a group, all of them or none, while the turn that makes them owns its execution.
--
-- KEYS[1]  registry  hash of the session
-- KEYS[2+] streams   where each call goes; in a Cluster the outbox of the session
-- ARGV[1]  caller    execution whose turn calls
-- ARGV[2]  fence     of that turn
-- ARGV[3]  ttl_s     lifetime of the registry, in seconds
-- ARGV[4]  limit     most entries of a stream; '0': no limit
-- ARGV[5+] of each call: execution_id, message_id, record (JSON), document
--
-- Returns {'accepted'}; a call that is known by its message id was sent by an earlier try, and is not sent again
--         {'full', number of the call, from 1}, {'stopped', reason}: the caller was cancelled, {'fenced'}: another
--         attempt owns the caller; after these nothing was written.
-- One script, because of a group that was sent in part nobody knows how many answers to wait for.
local registry, limit = KEYS[1], tonumber(ARGV[4])
local caller = redis.call('HGET', registry, 'exec:' .. ARGV[1])
if not caller or not string.find(caller, '"' .. ARGV[2] .. '"', 1, true) then return {'fenced'} end
local doc = cancelled(caller)
if doc then return {'stopped', tostring(doc.cancel_reason or '')} end

local depths, new = {}, {}
for i = 2, #KEYS do
  local at = 5 + (i - 2) * 4
  if redis.call('HEXISTS', registry, 'msg_map:' .. ARGV[at + 1]) == 0 then
    -- Looked at even without a limit: a stream of the wrong type fails here, before anything is written.
    local depth = (depths[KEYS[i]] or redis.call('XLEN', KEYS[i])) + 1
    depths[KEYS[i]] = depth
    if limit > 0 and depth > limit then return {'full', tostring(i - 1)} end
    new[#new + 1] = {KEYS[i], at}
  end
end

for _, call in ipairs(new) do
  local stream, at = call[1], call[2]
  redis.call('HSET', registry, 'exec:' .. ARGV[at], ARGV[at + 2], 'msg_map:' .. ARGV[at + 1], ARGV[at])
  redis.call('XADD', stream, '*', 'data', ARGV[at + 3])
end
redis.call('EXPIRE', registry, ARGV[3])
return {'accepted'}
