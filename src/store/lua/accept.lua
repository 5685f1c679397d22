-- Accept one command: route it, write its execution record and put it on its stream(s), or change nothing.
--
-- KEYS[1]  registry   hash of the session: exec:{execution} -> record, msg_map:{message} -> execution
-- KEYS[2]  circuit    string, the agent type's circuit breaker
-- KEYS[3]  quota      string, the user's quota
-- KEYS[4]  presence   set of the agent type's members, or the lease of one worker
-- KEYS[5+] streams    where the documents go; none when only the record is written (a refused command)
-- ARGV[1]  execution_id
-- ARGV[2]  message_id
-- ARGV[3]  record        JSON
-- ARGV[4]  ttl_s         lifetime of the registry, in seconds
-- ARGV[5]  check         'type': somebody must be online; 'worker': that worker must be; 'none'
-- ARGV[6]  gate          '1': circuit and quota are read; any value there is handed back, not interpreted
-- ARGV[7]  fresh         '1': the sender made this message id just now, so it can not be known yet
-- ARGV[8]  lease_prefix  lease key = prefix .. worker id .. suffix
-- ARGV[9]  lease_suffix
-- ARGV[10+] documents    one for each stream
--
-- Returns {'accepted', entry id of each stream...}
--         {'duplicate', execution id, its record}: this message was accepted before (a refusal does not count)
--         {'undecided', circuit, quota, 'online' or 'offline'}: the caller decides, nothing was written
--
-- One script, because a record without its entry, or the entry without its record, is a lost or a doubled task
-- when the sender dies between the two. Lease keys are made from a set's members, so they can not be declared;
-- in a Cluster the caller decides before, and gives the outbox of the session as the only stream (outbox.ts).
local registry, circuit_key, quota_key, presence = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local check, gate = ARGV[5], ARGV[6] == '1'

if ARGV[7] ~= '1' then
  local known = redis.call('HGET', registry, 'msg_map:' .. ARGV[2])
  local record = known and redis.call('HGET', registry, 'exec:' .. known)
  -- A refused message was never accepted: sending it again is a new try.
  local ok, doc = pcall(cjson.decode, record or '')
  local refused = ok and type(doc) == 'table' and doc.route_status == 'REJECT'
  if known and not refused then return {'duplicate', known, record or ''} end
end

local function alive(lease)
  if not lease then return false end
  if string.sub(lease, 1, 1) ~= '{' then return true end
  local ok, presence_doc = pcall(cjson.decode, lease)
  if not ok then return true end
  local seen = tonumber(presence_doc.last_seen)
  return seen ~= nil and seen > 0
end

-- Circuit, quota and the leases of a few members come in one read.
local SAMPLE = 4
local wanted, members = {}, {}
if gate then wanted = {circuit_key, quota_key} end
if check == 'type' then
  members = redis.call('SRANDMEMBER', presence, SAMPLE)
  for _, id in ipairs(members) do wanted[#wanted + 1] = ARGV[8] .. id .. ARGV[9] end
elseif check == 'worker' then
  wanted[#wanted + 1] = presence
end
local found = {}
if #wanted > 0 then found = redis.call('MGET', unpack(wanted)) end
local first = gate and 3 or 1
local online = check == 'none'
for i = first, #wanted do online = online or alive(found[i]) end

if not online and check == 'type' and #members == SAMPLE then
  -- The sample was dead, and there may be more. Dead members are swept by managers and workers, so this is rare.
  local all = redis.call('SMEMBERS', presence)
  for from = 1, #all, 500 do
    local leases = {}
    for i = from, math.min(from + 499, #all) do leases[#leases + 1] = ARGV[8] .. all[i] .. ARGV[9] end
    local answers = redis.call('MGET', unpack(leases))
    for i = 1, #leases do online = online or alive(answers[i]) end
    if online then break end
  end
end

local circuit, quota = gate and found[1] or false, gate and found[2] or false
if circuit or quota or not online then
  return {'undecided', circuit or '', quota or '', online and 'online' or 'offline'}
end

redis.call('HSET', registry, 'exec:' .. ARGV[1], ARGV[3], 'msg_map:' .. ARGV[2], ARGV[1])
redis.call('EXPIRE', registry, ARGV[4])
local answer = {'accepted'}
for i = 5, #KEYS do
  local entry = redis.pcall('XADD', KEYS[i], '*', 'data', ARGV[i + 5])
  if type(entry) == 'table' and entry.err then
    -- A script does not roll back: a stream of the wrong type must not leave a record behind.
    redis.call('HDEL', registry, 'exec:' .. ARGV[1], 'msg_map:' .. ARGV[2])
    for done = 5, i - 1 do redis.call('XDEL', KEYS[done], answer[done - 3]) end
    return entry
  end
  answer[#answer + 1] = entry
end
return answer
