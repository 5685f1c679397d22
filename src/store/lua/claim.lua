-- Begin a turn: one worker takes an execution, and gets a fence that all its later writes must show.
--
-- KEYS[1]  registry      hash of the session
-- ARGV[1]  message_id    of the command
-- ARGV[2]  hint          execution id the sender put into the command, or ''
-- ARGV[3]  new_record    JSON, used when no record exists (the sender wrote none)
-- ARGV[4]  new_id        execution id in that record
-- ARGV[5]  owner         worker id and incarnation
-- ARGV[6]  worker_id
-- ARGV[7]  entry         '{stream}/{entry id}' of the command: says whether this is a repeat of the same delivery
-- ARGV[8]  now_ms        for the record's timestamps, which are information only
-- ARGV[9]  reopen        '1': a user's RESUME, which may continue a finished execution
-- ARGV[10] ttl_s         lifetime of the registry when this script creates it
-- ARGV[11] terminal      JSON array of the states that end an execution
--
-- Returns {verdict, execution id, record after the step}; verdict is
--   'started'    the turn is ours
--   'cancelled'  it was cancelled before anybody began: finish it as CANCELLED, under the fence in the record
--   'terminal'   it has ended: acknowledge and go on
--   'busy'       another turn of it runs, for another command: try again later
--
-- One script, because reading the state and then taking it lets a cancel, or a second worker, slip between.
local registry, message_id = KEYS[1], ARGV[1]
local terminal = {}
for _, state in ipairs(cjson.decode(ARGV[11])) do terminal[state] = true end

-- cjson writes an empty array as {}. This number prints the same as it is read, so it stands in for one.
local EMPTY = '[-1e+308]'
local function decode(text) return cjson.decode((string.gsub(text, '%[%]', EMPTY))) end
local function encode(doc) return (string.gsub(cjson.encode(doc), '%[%-1e%+308%]', '[]')) end

local id, text = ARGV[2], false
if id ~= '' then text = redis.call('HGET', registry, 'exec:' .. id) end
local ok, record = pcall(decode, text or '')
if not text or not ok or record.message_id ~= message_id then
  id = redis.call('HGET', registry, 'msg_map:' .. message_id)
  text = id and redis.call('HGET', registry, 'exec:' .. id)
  ok, record = pcall(decode, text or '')
end

local created = false
if not text or not ok or type(record) ~= 'table' then
  id, record, created = ARGV[4], decode(ARGV[3]), true
end

local status = record.status or ''
if terminal[status] and ARGV[9] ~= '1' then return {'terminal', id, text or ''} end
local repeated = record.x_entry == ARGV[7]
if status == 'RUNNING' and not created and not repeated then
  local owner = record.x_owner
  if owner ~= nil and owner ~= '' then return {'busy', id, text or ''} end
end

local now = tonumber(ARGV[8])
local cancelled = status == 'CANCELLING' and (tonumber(record.started_at) or 0) == 0
record.x_attempt = (tonumber(record.x_attempt) or 0) + 1
record.x_owner = ARGV[5]
record.x_fence = record.x_attempt .. '@' .. ARGV[5]
record.x_entry = ARGV[7]
record.worker_id = ARGV[6]
record.updated_at = now
if not cancelled and status ~= 'CANCELLING' then
  record.status = 'RUNNING'
  if (tonumber(record.started_at) or 0) == 0 then record.started_at = now end
  if type(record.timeline) ~= 'table' then record.timeline = {} end
  if not (created and #record.timeline > 0) then
    record.timeline[#record.timeline + 1] = {status = 'RUNNING', timestamp = now}
  end
end

local after = encode(record)
if created then
  redis.call('HSET', registry, 'exec:' .. id, after, 'msg_map:' .. message_id, id)
  redis.call('EXPIRE', registry, ARGV[10])
else
  redis.call('HSET', registry, 'exec:' .. id, after)
end
return {cancelled and 'cancelled' or 'started', id, after}
