-- Change the status of one worker, with all that follows from it: sweep indexes, ledger, what routers look at, audit.
--
-- KEYS[1]  record      hash
-- KEYS[2]  heartbeats  sorted set: workers that are not offline, by last heartbeat
-- KEYS[3]  recoveries  sorted set: exhausted workers, by when they recover
-- KEYS[4]  index       sorted set: all workers, by last change
-- KEYS[5]  audit       stream
-- KEYS[6]  ledger      hash: the exhaustion this is about; of the whole worker unless it is op 'exhaust' or 'recover'
-- KEYS[7]  counted     string with TTL: that an error was counted; only read and written by op 'exhaust'
-- ARGV[1]  worker_id
-- ARGV[2]  op
-- ARGV[3]  version     what the record's must be, or '' for any
-- ARGV[4]  params      JSON, see below
-- ARGV[5]  marker      prefix of the keys of exhausted workers; the agent type follows. In the slot of the others.
--
-- ops and their params; all of them take timeout_ms, what silence makes a worker offline:
--   heartbeat  agent_types, origin; slots_used, slots_max, first_slot_type, reserve_on_call as they are; at (when it was heard, by default
--              now); reexhaust (an exhaustion the ledger knows holds again after an absence)
--   take       slot_type; observed (the work has begun already, whatever the status)
--   release
--   exhaust    reason, source, scope; recovery_at or recovery_in_ms, or neither; default_ms, min_ms, max_ms; by, note; execution_id (its
--              error says so, and counts once)
--   recover    somebody says that it is over: scope; by, note
--   due        it is over if its time has come; that is no sign of life
--   timeout    offline if it was silent for longer than timeout_ms
--   leave      it says good-bye: offline at once
--
-- Returns {verdict, time in ms, status before or '', fields and values of the record...}, the verdict being 'changed',
--         'kept' (nothing to do), 'missing' (no such worker), 'conflict' (another version), 'illegal' (the status does
--         not allow it) or 'known' (it was counted before); after the last four nothing was written.
-- The rules of the status are those of registry/agent-status.ts.
local op, worker = ARGV[2], ARGV[1]
local params = cjson.decode(ARGV[4])
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local KEEP_S = 604800
local GRACE_MS = 86400000
local ONCE_S = 86400

local function whole(value) return string.format('%.0f', value) end

local function read(key)
  local pairs_of, fields = redis.call('HGETALL', key), nil
  for i = 1, #pairs_of, 2 do
    fields = fields or {}
    fields[pairs_of[i]] = pairs_of[i + 1]
  end
  return fields
end

local function flat(fields)
  local list = {}
  for field, value in pairs(fields) do
    list[#list + 1] = field
    list[#list + 1] = value
  end
  return list
end

local old = read(KEYS[1])
local record = {}
for field, value in pairs(old or {}) do record[field] = value end
local before = old and old.status or ''

local function answer(verdict)
  return {verdict, whole(now), before, unpack(flat(verdict == 'changed' and record or old or {}))}
end

if ARGV[3] ~= '' and (old and old.version or '0') ~= ARGV[3] then return answer('conflict') end
if not old and op ~= 'heartbeat' and not (op == 'exhaust' and params.scope ~= '*') then return answer('missing') end

local notes = {}
local function note(kind, fields)
  fields.kind, fields.worker_id, fields.at = kind, worker, whole(now)
  notes[#notes + 1] = flat(fields)
end

local function live(row) return row and row.recovery_at and tonumber(row.recovery_at) > now and row or nil end
local function slots() return tonumber(record.slots_used or '0') end
local function silent()
  return not record.last_heartbeat_at or now - tonumber(record.last_heartbeat_at) > params.timeout_ms
end
local function rested()
  record.exhausted_at, record.recovery_at, record.exhaust_reason = nil, nil, nil
  record.status = 'idle'
end
local function heard(at)
  record.last_heartbeat_at = whole(math.max(at or now, tonumber(record.last_heartbeat_at or '0')))
end
local function busy() return record.first_slot_type == 'on_call' and 'on_call' or 'busy' end
-- Who recovers still holds the work it had.
local function recovered()
  rested()
  if slots() > 0 then record.status = busy() end
end
local function exhausted(row)
  record.status = 'exhausted'
  record.exhausted_at, record.recovery_at, record.exhaust_reason = row.recorded_at, row.recovery_at, row.reason
end
local function works() return record.status == 'busy' or record.status == 'on_call' end

local ops = {}

function ops.heartbeat()
  local is_derived = params.origin == 'derived'
  -- What a worker says of itself counts for as long as it says anything.
  if is_derived and old and old.origin == 'native' and not silent() then return 'kept' end
  local at = math.min(params.at or now, now)
  -- What was read off a lease may be the same as the last time.
  local is_news = not is_derived or not record.last_heartbeat_at or at > tonumber(record.last_heartbeat_at)
  local is_fresh = now - at <= params.timeout_ms
  record.worker_id, record.origin = worker, params.origin
  record.reserve_on_call = params.reserve_on_call and '1' or nil
  record.agent_types = #params.agent_types > 0 and cjson.encode(params.agent_types) or '[]'
  if not old then record.status = is_fresh and 'idle' or 'offline' end
  if is_fresh and is_news then heard(at) end
  if is_fresh and (not old or (before == 'offline' and is_news)) then
    rested()
    local row = live(read(KEYS[6]))
    if row and params.reexhaust then exhausted(row) end
  elseif record.status == 'exhausted' and not is_derived and record.recovery_at and now >= tonumber(record.recovery_at) then
    rested()
  end
  local had = slots()
  if params.slots_used then
    record.slots_used = whole(params.slots_used)
    record.first_slot_type = params.slots_used > 0 and (params.first_slot_type or record.first_slot_type or 'work') or nil
  end
  if params.slots_max then record.slots_max = whole(params.slots_max) end
  if record.status == 'idle' or works() then
    record.status = slots() > 0 and busy() or 'idle'
  elseif slots() > had then
    note('anomaly', {what = 'work_begun', status = record.status, slots_used = slots()})
  end
  return 'changed'
end

function ops.take()
  if record.status ~= 'idle' and not works() then
    if not params.observed then return 'illegal' end
    note('anomaly', {what = 'work_begun', status = record.status, slots_used = slots() + 1})
  end
  if slots() == 0 then record.first_slot_type = params.slot_type end
  if record.status == 'idle' then
    record.status = params.slot_type == 'on_call' and 'on_call' or 'busy'
    heard()
  end
  record.slots_used = whole(slots() + 1)
  return 'changed'
end

function ops.release()
  if slots() == 0 then
    note('anomaly', {what = 'nothing_to_release', status = record.status})
    return 'kept'
  end
  record.slots_used = whole(slots() - 1)
  if slots() == 0 then
    record.first_slot_type = nil
    if works() then
      rested()
      heard()
    end
  end
  return 'changed'
end

function ops.exhaust()
  if params.execution_id and not redis.call('SET', KEYS[7], '1', 'EX', ONCE_S, 'NX') then return 'known' end
  local wanted = params.recovery_at or (params.recovery_in_ms and now + params.recovery_in_ms)
  local is_explicit = wanted ~= nil
  local till = wanted or now + params.default_ms
  local believed = math.max(now + params.min_ms, math.min(now + params.max_ms, till))
  if is_explicit and (believed ~= till or params.clamped) then
    note('clamped', {wanted = whole(till), recovery_at = whole(believed), scope = params.scope})
  end
  local row = live(read(KEYS[6]))
  local next = {
    worker_id = worker, scope = params.scope, reason = params.reason, recovery_at = whole(believed),
    explicit = is_explicit and '1' or '0', source = params.source, recorded_at = whole(now),
  }
  -- The longest that somebody said holds; what nobody said makes it neither shorter nor longer.
  if row and row.explicit == '1' and (not is_explicit or tonumber(row.recovery_at) > believed) then
    next.recovery_at, next.explicit, next.source = row.recovery_at, row.explicit, row.source
  end
  redis.call('HSET', KEYS[6], unpack(flat(next)))
  redis.call('PEXPIREAT', KEYS[6], whole(tonumber(next.recovery_at) + GRACE_MS))
  note('exhausted', {
    reason = params.reason, scope = params.scope, recovery_at = next.recovery_at, source = params.source,
    by = params.by or '', note = params.note or '',
  })
  -- A dead worker that was shown as exhausted would hide that it is dead.
  if params.scope ~= '*' or record.status == 'offline' then return 'kept' end
  exhausted(next)
  return 'changed'
end

function ops.recover()
  local closes = redis.call('DEL', KEYS[6]) == 1
  local is_exhausted = params.scope == '*' and record.status == 'exhausted'
  if not closes and not is_exhausted then return 'illegal' end
  note('recovered', {scope = params.scope, by = params.by or '', note = params.note or ''})
  if not is_exhausted then return 'kept' end
  recovered()
  return 'changed'
end

function ops.due()
  if record.status ~= 'exhausted' or not record.recovery_at or now < tonumber(record.recovery_at) then return 'kept' end
  recovered()
  return 'changed'
end

function ops.timeout()
  if record.status == 'offline' or not silent() then return 'kept' end
  record.status = 'offline'
  return 'changed'
end

function ops.leave()
  if record.status == 'offline' then return 'kept' end
  record.status, record.slots_used, record.first_slot_type = 'offline', '0', nil
  return 'changed'
end

-- What routers look at, of one agent type: who of its workers can do nothing, and until when.
local function mark(agent_type, till)
  local key = ARGV[5] .. agent_type
  local ok, marked = pcall(cjson.decode, redis.call('GET', key) or '{}')
  if not ok or type(marked) ~= 'table' then marked = {} end
  marked[worker] = till
  local last, left = 0, {}
  for id, at in pairs(marked) do
    if type(at) == 'number' and at > now then
      left[id] = at
      last = math.max(last, at)
    end
  end
  if last == 0 then redis.call('DEL', key)
  else redis.call('SET', key, cjson.encode(left), 'PX', whole(last - now)) end
end

local function types_of(fields)
  local ok, list = pcall(cjson.decode, fields and fields.agent_types or '[]')
  return ok and type(list) == 'table' and list or {}
end

local verdict = ops[op]()
if verdict == 'illegal' or verdict == 'known' then return answer(verdict) end
for _, entry in ipairs(notes) do redis.call('XADD', KEYS[5], 'MAXLEN', '~', '50000', '*', unpack(entry)) end
if verdict ~= 'changed' then return answer(verdict) end

record.slots_used = record.slots_used or '0'
record.version = whole(tonumber(record.version or '0') + 1)
if record.status ~= before then
  record.status_since_at = whole(now)
  redis.call(
    'XADD', KEYS[5], 'MAXLEN', '~', '50000', '*', 'kind', 'change', 'worker_id', worker, 'at', whole(now),
    'from', before, 'to', record.status, 'reason', record.exhaust_reason or '', 'op', op
  )
end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], unpack(flat(record)))
redis.call('EXPIRE', KEYS[1], KEEP_S)

local function index(key, score)
  if score then redis.call('ZADD', key, score, worker) else redis.call('ZREM', key, worker) end
  redis.call('ZREMRANGEBYSCORE', key, '-inf', whole(now - KEEP_S * 1000))
  redis.call('EXPIRE', key, KEEP_S)
end
index(KEYS[2], record.status ~= 'offline' and (record.last_heartbeat_at or '0'))
index(KEYS[3], record.status == 'exhausted' and record.recovery_at)
index(KEYS[4], whole(now))

if before == 'exhausted' or record.status == 'exhausted' then
  for _, agent_type in ipairs(types_of(old)) do mark(agent_type, nil) end
  if record.status == 'exhausted' then
    for _, agent_type in ipairs(types_of(record)) do mark(agent_type, tonumber(record.recovery_at)) end
  end
end
return answer('changed')
