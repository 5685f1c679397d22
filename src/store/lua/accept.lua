-- Accept one command: route it, write its execution record and put it on its stream(s), or change nothing.
--
-- KEYS[1]  registry   hash of the session: exec:{execution} -> record, msg_map:{message} -> execution
-- KEYS[2]  circuit    string, the agent type's circuit breaker
-- KEYS[3]  quota      string, the user's quota
-- KEYS[4]  presence   set of the agent type's members, or the lease of one worker
-- KEYS[5]  backlog    sorted set: what waits for this agent type beside its stream
-- KEYS[6]  user_open  set of the user's unfinished commands
-- KEYS[7+] streams    where the documents go; none when only the record is written (a refused command)
-- ARGV[1]  execution_id
-- ARGV[2]  message_id
-- ARGV[3]  record        JSON
-- ARGV[4]  ttl_s         lifetime of the registry, in seconds; '0' if it was renewed a moment ago
-- ARGV[5]  check         'type': somebody must be online; 'worker': that worker must be; 'none'
-- ARGV[6]  gate          '1': circuit and quota are read; any value there is handed back, not interpreted
-- ARGV[7]  fresh         '1': the sender made this message id just now, so it can not be known yet
-- ARGV[8]  lease_prefix  lease key = prefix .. worker id .. suffix
-- ARGV[9]  lease_suffix
-- ARGV[10] type_limit   most entries of each stream, and of the backlog; '0': no limit
-- ARGV[11] user_limit   most unfinished commands of the user; '0': not counted
-- ARGV[12] user_member  this command in the user's set
-- ARGV[13] member       a member of the agent type that was online a moment ago, or ''; with check 'worker' that worker
-- ARGV[14] user_code    on whose behalf; '' for an operator, who may use any session
-- ARGV[15] parent       message this one belongs to, or ''
-- ARGV[16] fallback     key of the record that says who stands in for the agent type; '': not looked at
-- ARGV[17] members_prefix  members of an agent type = prefix .. type .. suffix
-- ARGV[18] members_suffix
-- ARGV[19] limit_key   how many commands of the user are accepted in a window; '': not looked at. quota-window.lua counts
-- ARGV[20] caller       execution whose turn calls, or '' when a client sends
-- ARGV[21] fence        of that turn: it must still own its execution, and then it may use any user's session
-- ARGV[22] journal      of the caller, in the registry's slot: the call must be noted there; '' if it need not be
-- ARGV[23] entry        field of the journal that notes it
-- ARGV[24] exhausted    key that says which workers of the agent type can do nothing; '': not looked at
-- ARGV[25+] documents    one for each stream
--
-- Returns {'accepted', a member that is online or '', most entries of a stream or '' if not looked at, entry id of
--          each stream...}
--         {'duplicate', execution id, its record}: this message was accepted before (a refusal does not count)
--         {'foreign'}: the session belongs to another user, or to the operators; nothing was written
--         {'cancelled'}: the message it belongs to was cancelled; nothing was written
--         {'stopped', reason}: the caller was cancelled; nothing was written
--         {'fenced'}: another attempt owns the caller; nothing was written
--         {'unnoted'}: the caller's journal does not say that it calls; nothing was written
--         {'full', 'type' or 'user'}: too much waits, nothing was written
--         {'over', ms, reason}: the user's limit is used up for so long; nothing was written
--         {'undecided', circuit, quota, 'online' or 'offline', fallback, the agent type it names as far as this script
--          can tell, 'online' or 'offline' of that, lifetime of circuit and quota in ms or '', 'limited' or '', how many
--          members are exhausted, how many offline, and in how many ms the first of them recovers or ''}: the caller
--          decides, nothing was written. All it needs to know is in this one answer. Members are counted only where all
--          that are online are exhausted.
--
-- One script, because a record without its entry, or the entry without its record, is a lost or a doubled task
-- when the sender dies between the two. Lease keys are made from a set's members, so they can not be declared;
-- in a Cluster the caller decides before, and gives the outbox of the session as the only stream (outbox.ts).
local registry, circuit_key, quota_key, presence = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local check, gate = ARGV[5], ARGV[6] == '1'

if ARGV[20] ~= '' then
  local caller = redis.call('HGET', registry, 'exec:' .. ARGV[20])
  if not caller or not string.find(caller, '"' .. ARGV[21] .. '"', 1, true) then return {'fenced'} end
  local doc = cancelled(caller)
  if doc then return {'stopped', tostring(doc.cancel_reason or '')} end
  if ARGV[22] ~= '' and redis.call('HEXISTS', ARGV[22], ARGV[23]) == 0 then return {'unnoted'} end
end

local user, takes = ARGV[14], false
if user ~= '' and ARGV[20] == '' then
  local owner = redis.call('HGET', registry, 'x_user_code')
  -- Only what nobody has used yet can be taken: another SDK does not say whose a session is.
  takes = not owner and redis.call('PTTL', registry) == -2
  if owner ~= user and not takes then return {'foreign'} end
end

if ARGV[7] ~= '1' then
  local known = redis.call('HGET', registry, 'msg_map:' .. ARGV[2])
  local record = known and redis.call('HGET', registry, 'exec:' .. known)
  -- A refused message was never accepted: sending it again is a new try.
  local ok, doc = pcall(cjson.decode, record or '')
  local refused = ok and type(doc) == 'table' and doc.route_status == 'REJECT'
  if known and not refused then return {'duplicate', known, record or ''} end
end

if ARGV[15] ~= '' and cancelled(record_of(registry, ARGV[15])) then return {'cancelled'} end

local function alive(lease)
  if not lease then return false end
  if string.sub(lease, 1, 1) ~= '{' then return true end
  local ok, presence_doc = pcall(cjson.decode, lease)
  if not ok then return true end
  local seen = tonumber(presence_doc.last_seen)
  return seen ~= nil and seen > 0
end

local function lease_key(id) return ARGV[8] .. id .. ARGV[9] end

-- Circuit, quota and the leases of a few members come in one read. A member the caller saw a moment ago saves asking
-- for members; its lease is looked at all the same.
local SAMPLE = 4
local wanted, members = {}, {}
if gate then wanted = {circuit_key, quota_key} end
if ARGV[19] ~= '' then wanted[#wanted + 1] = ARGV[19] end
local limit_at = #wanted
if ARGV[24] ~= '' then wanted[#wanted + 1] = ARGV[24] end
local first = #wanted + 1
if check == 'type' then
  members = ARGV[13] ~= '' and {ARGV[13]} or redis.call('SRANDMEMBER', presence, SAMPLE)
  for _, id in ipairs(members) do wanted[#wanted + 1] = lease_key(id) end
elseif check == 'worker' then
  wanted[#wanted + 1] = presence
end
local found = {}
if #wanted > 0 then found = redis.call('MGET', unpack(wanted)) end
local online = check == 'none' and '' or nil
for i = first, #wanted do
  if not online and alive(found[i]) then online = members[i - first + 1] or '' end
end

local function any_alive(members_key)
  local all = redis.call('SMEMBERS', members_key)
  for from = 1, #all, 500 do
    local leases = {}
    for i = from, math.min(from + 499, #all) do leases[#leases + 1] = lease_key(all[i]) end
    local answers = redis.call('MGET', unpack(leases))
    for i = 1, #leases do
      if alive(answers[i]) then return all[from + i - 1] end
    end
  end
  return nil
end

-- When exhausted workers recover, by worker: of those that have not yet, in milliseconds from now.
local function exhausted_in(text)
  local ok, doc = pcall(cjson.decode, text)
  if not ok or type(doc) ~= 'table' then return nil end
  local time, left = redis.call('TIME'), {}
  local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
  for id, at in pairs(doc) do
    if type(at) == 'number' and at > now then left[id] = at - now end
  end
  return next(left) and left or nil
end

-- A member that is online and not exhausted; of the agent type's workers how many are exhausted, how many offline, and when the first recovers.
local function able_among(members_key, left)
  local able, spent, gone, first_ms = nil, 0, 0, nil
  local all = redis.call('SMEMBERS', members_key)
  local is_member = {}
  for _, id in ipairs(all) do is_member[id] = true end
  for from = 1, #all, 500 do
    local leases = {}
    for i = from, math.min(from + 499, #all) do leases[#leases + 1] = lease_key(all[i]) end
    local answers = redis.call('MGET', unpack(leases))
    for i = 1, #leases do
      local id = all[from + i - 1]
      if not alive(answers[i]) then gone = gone + 1
      elseif left[id] then spent, first_ms = spent + 1, math.min(first_ms or left[id], left[id])
      else able = able or id end
    end
  end
  -- Who was suspended until it recovers is no member meanwhile, and comes back.
  for id, ms in pairs(left) do
    if not is_member[id] and alive(redis.call('GET', lease_key(id)) or nil) then
      spent, first_ms = spent + 1, math.min(first_ms or ms, ms)
    end
  end
  return able, spent, gone, first_ms
end

if not online and check == 'type' and (#members == SAMPLE or ARGV[13] ~= '') then
  -- The sample was dead, and there may be more. Managers take out what has been dead for a day, so this is rare.
  online = any_alive(presence)
end

-- Who of those that are online can do nothing is looked at only while something says that there are such.
local spent, gone, recovers = 0, 0, nil
local marked = ARGV[24] ~= '' and found[first - 1] and exhausted_in(found[first - 1])
if marked and check == 'worker' then
  local till = online and marked[ARGV[13]]
  if till then online, spent, recovers = nil, 1, till end
elseif marked and (not online or online == '' or marked[online]) then
  local able
  able, spent, gone, recovers = able_among(presence, marked)
  online = able or (check == 'none' and spent == 0 and '') or nil
end

local circuit, quota = gate and found[1] or false, gate and found[2] or false
local limit = ARGV[19] ~= '' and #KEYS >= 7 and found[limit_at] or false
local window = limit and window_of(limit)
if window and not circuit and not quota and window.used >= window.limit then
  return {'over', window_left(window), window.reason}
end
if circuit or quota or not online then
  local fallback, stand_in, stand_in_online = '', '', false
  if not online and ARGV[16] ~= '' then
    fallback = redis.call('GET', ARGV[16]) or ''
    local ok, doc = pcall(cjson.decode, fallback)
    if ok and type(doc) == 'table' then
      for _, field in ipairs({'selected_agent_type', 'agent_type', 'target_agent_type'}) do
        if stand_in == '' and type(doc[field]) == 'string' then stand_in = doc[field] end
      end
    end
    if stand_in ~= '' then stand_in_online = any_alive(ARGV[17] .. stand_in .. ARGV[18]) end
  end
  local function lifetime(key, found)
    local ms = found and redis.call('PTTL', key) or -1
    return ms >= 0 and tostring(ms) or ''
  end
  return {
    'undecided', circuit or '', quota or '', online and 'online' or 'offline',
    fallback, stand_in, stand_in_online and 'online' or 'offline',
    lifetime(circuit_key, circuit), lifetime(quota_key, quota), window and 'limited' or '',
    tostring(spent), tostring(gone), recovers and string.format('%.0f', recovers) or '',
  }
end

local depth = ''
if #KEYS >= 7 then
  local type_limit, user_limit = tonumber(ARGV[10]), tonumber(ARGV[11])
  if type_limit > 0 then
    for i = 7, #KEYS do
      depth = math.max(tonumber(depth) or 0, redis.call('XLEN', KEYS[i]))
      if depth >= type_limit then return {'full', 'type'} end
    end
    -- Only what is not delivered at once can wait there.
    if check == 'none' and redis.call('ZCARD', KEYS[5]) >= type_limit then return {'full', 'type'} end
  end
  if user_limit > 0 then
    if redis.call('SCARD', KEYS[6]) >= user_limit then return {'full', 'user'} end
    redis.call('SADD', KEYS[6], ARGV[12])
    redis.call('EXPIRE', KEYS[6], 604800)
  end
end

redis.call('HSET', registry, 'exec:' .. ARGV[1], ARGV[3], 'msg_map:' .. ARGV[2], ARGV[1])
if takes then redis.call('HSET', registry, 'x_user_code', user) end
if ARGV[4] ~= '0' then redis.call('EXPIRE', registry, ARGV[4]) end
local answer = {'accepted', online, tostring(depth)}
for i = 7, #KEYS do
  local entry = redis.pcall('XADD', KEYS[i], '*', 'data', ARGV[i + 18])
  if type(entry) == 'table' and entry.err then
    -- A script does not roll back: a stream of the wrong type must not leave a record behind.
    redis.call('HDEL', registry, 'exec:' .. ARGV[1], 'msg_map:' .. ARGV[2], takes and 'x_user_code' or '')
    for done = 7, i - 1 do redis.call('XDEL', KEYS[done], answer[done - 3]) end
    return entry
  end
  answer[#answer + 1] = entry
end
if window then count_in(window, ARGV[19], quota_key) end
return answer
