-- Prolong a worker's lease and keep its membership as it should be, if the worker id is still ours.
--
-- KEYS[1]  lease      string with TTL: the presence document
-- KEYS[2]  admin      hash: lifecycle, reason, updated_at, x_force
-- KEYS[3]  declared   set of the agent types this worker declared
-- KEYS[4]  level      string with TTL: how much the worker is to log
-- KEYS[5]  known      set of all worker ids; absent in a Cluster, as what follows: the caller does the rest
-- KEYS[6+] for each agent type: its members set, then its denied set
-- ARGV[1]  worker_id
-- ARGV[2]  token      proof that the lease is ours
-- ARGV[3]  presence   JSON to store
-- ARGV[4]  ttl_ms
-- ARGV[5]  join       '1': be a member of the agent types; '0': leave them (draining)
-- ARGV[6+] agent types, in the order of the keys
--
-- Returns {'lost'} if another process holds the worker id, else {verdict, lifecycle, reason, force, level, denied types...}, where
-- the verdict is 'ok', or 'regained' if the lease had run out, and force is '1' if running work is not to be waited for.
-- Who is suspended, evicted or denied is no member afterwards, whatever an operator's process that died half way left.
-- One script, because a GET and then a SET let two processes both believe that they own the id.
local lease = redis.call('GET', KEYS[1])
if lease then
  local ok, doc = pcall(cjson.decode, lease)
  if not ok or type(doc) ~= 'table' or doc.token ~= ARGV[2] then return {'lost'} end
end
redis.call('SET', KEYS[1], ARGV[3], 'PX', ARGV[4])
if KEYS[5] then redis.call('SADD', KEYS[5], ARGV[1]) end

local admin = redis.call('HMGET', KEYS[2], 'lifecycle', 'reason', 'updated_at', 'x_force')
local lifecycle = admin[1] or 'active'
local isActive = lifecycle ~= 'suspended' and lifecycle ~= 'evicted'
local force = admin[4] and admin[4] == admin[3]
local answer = {lease and 'ok' or 'regained', lifecycle, admin[2] or '', force and '1' or '0', redis.call('GET', KEYS[4]) or ''}

-- A type this worker no longer serves must not keep it as a member; its key is made by the caller next time.
for i = 6, #ARGV do
  if isActive then redis.call('SADD', KEYS[3], ARGV[i]) end
  local members, denied = KEYS[6 + (i - 6) * 2], KEYS[7 + (i - 6) * 2]
  if members then
    local isDenied = redis.call('SISMEMBER', denied, ARGV[1]) == 1
    if isDenied then answer[#answer + 1] = ARGV[i] end
    redis.call(isActive and not isDenied and ARGV[5] == '1' and 'SADD' or 'SREM', members, ARGV[1])
  end
end
return answer
