-- Stop one execution from outside the attempt that runs it: because somebody cancels it, or its deadline has passed.
--
-- KEYS[1]  registry  hash of the session
-- KEYS[2]  events    data stream of the session
-- KEYS[3]  reply     control stream of the caller; unused without a reply
-- KEYS[4]  tell      control stream of the worker; unused when no worker is told
-- ARGV[1]  execution_id
-- ARGV[2]  mode       'graceful': what runs is asked to stop; 'force': it is ended here and fenced; 'deadline': what runs
--                     is left to its worker, which looks at the deadline itself
-- ARGV[3]  reason     of a cancel
-- ARGV[4]  now_ms     for the record's timestamps, which are information only
-- ARGV[5]  patch      JSON object merged into the record if it ends here; holds its status
-- ARGV[6]  dead_owner owner that is known to be gone, whose attempt may be ended; '' if none is
-- ARGV[7]  end_event  JSON of the end-of-stream event
-- ARGV[8]  end_type   event type of such events, to see whether agent code has ended the stream itself
-- ARGV[9]  reply      JSON of the RESUME to the caller, or '' if the caller of this script expects none
-- ARGV[10] tell       JSON of the command to the worker, or ''
-- ARGV[11] told       the worker it is for; '*': nobody is to be told
-- ARGV[12] ttl_s      lifetime of the data stream when the end event is written
-- ARGV[13] terminal   JSON array of the states that end an execution
--
-- Returns {verdict, worker id, record}; verdict is
--   'missing'     no such execution
--   'finished'    it has ended; a cancel is noted, so that late replies of children do not wake it
--   'ended'       it has ended now: nobody had begun it, it waited, its worker is gone, or it was ended by force
--   'stopping'    a cancel is marked; the worker in the second place has been told, if it was named
--   'running'     its deadline is its worker's business
--   'early'       its deadline has not passed, or it has none
--   'compose'     nothing was written: a reply is due, or another worker must be told than the one named. Make them
--                 from the record in the third place, and call again
--
-- One script, because a worker may take, suspend or end the execution between a look and a mark; and because an end
-- without its fence gone, its event, its reply or the word to the worker is a promise broken.

local registry, mode = KEYS[1], ARGV[2]
local field = 'exec:' .. ARGV[1]
local text = redis.call('HGET', registry, field)
if not text then return {'missing', '', ''} end
local record = decode(text)
-- Other SDKs may write null.
local function words(value) return type(value) == 'string' and value or '' end
local worker, status, owner = words(record.worker_id), words(record.status), words(record.x_owner)
local time = redis.call('TIME')
local server_ms = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local now = tonumber(ARGV[4])
local is_cancel = mode ~= 'deadline'

local function mark()
  record.cancel_requested = true
  record.updated_at = now
  if ARGV[3] ~= '' or record.cancel_reason == nil then record.cancel_reason = ARGV[3] end
  -- A RESUME that was sent before does not bring it back (claim.lua).
  record.x_cancelled_at = server_ms
end

for _, state in ipairs(cjson.decode(ARGV[13])) do
  if status == state then
    if is_cancel then
      mark()
      redis.call('HSET', registry, field, encode(record))
    end
    return {'finished', worker, ''}
  end
end
if not is_cancel then
  local deadline = tonumber(record.x_deadline)
  if not deadline or server_ms < deadline then return {'early', worker, ''} end
  -- Somebody cancelled it before: that is how it ends.
  if status == 'CANCELLING' then return {'running', worker, ''} end
end

local begun = (tonumber(record.started_at) or 0) ~= 0 or worker ~= ''
local queued = status == 'QUEUED' or status == ''
local untouched = owner == '' and not begun and (queued or status == 'CANCELLING')
-- Other SDKs note no owner: there the state alone says whether a turn runs.
local suspended = owner == '' and (
  status == 'WAITING_USER' or status == 'WAITING_AGENT' or status == 'GROUP_QUEUED' or
  status == 'QUEUED: waiting_for_group' or
  -- A turn of ours that is over has left its attempt and no owner: any text an agent returned, or a retry that waits.
  (record.x_attempt ~= nil and status ~= 'RUNNING' and (status ~= 'CANCELLING' or mode == 'force')))
local gone = owner ~= '' and owner == ARGV[6]
local ends = untouched or suspended or gone or (owner ~= '' and mode == 'force')
if not ends and not is_cancel then return {'running', worker, ''} end

local source = words(record.source_agent_type)
local awaited = source ~= '' and source ~= 'client'
-- What a reply must hold is known once a turn of ours has begun. Before that, whoever takes the command answers.
if ends and awaited and type(record.x_reply) ~= 'table' then ends = false end
if not ends and not is_cancel then return {'running', worker, ''} end
local quiet = false
if awaited then
  -- A caller that is cancelled itself waits for nothing.
  local caller = redis.call('HGET', registry, 'msg_map:' .. words(record.parent_message_id))
  local ok, doc = pcall(cjson.decode, caller and redis.call('HGET', registry, 'exec:' .. caller) or '')
  quiet = ok and type(doc) == 'table' and doc.cancel_requested == true
end
local replies = ends and awaited and not quiet
-- A retry that waits is with its worker, and what runs is.
local tells = ARGV[11] ~= '*' and worker ~= '' and not gone and (owner ~= '' or queued or status == 'RUNNING'
  or status == 'CANCELLING')
if (replies and ARGV[9] == '') or (tells and worker ~= ARGV[11]) then return {'compose', worker, text} end

if is_cancel then mark() end
if ends then
  for name, value in pairs(decode(ARGV[5])) do record[name] = value end
  record.finished_at, record.updated_at = now, now
  -- Nothing more may be written under its fence, and its entry, delivered again, is known to be done.
  record.x_fence, record.x_owner, record.x_retry_at = '', '', nil
  if record.x_entry ~= nil then record.x_ended = record.x_entry end
else
  record.status = 'CANCELLING'
end
if type(record.timeline) ~= 'table' then record.timeline = {} end
local function step(name) record.timeline[#record.timeline + 1] = {status = name, timestamp = now} end
-- What ran is seen to be stopped, also where both happen here.
if is_cancel and ends and owner ~= '' and status ~= 'CANCELLING' then step('CANCELLING') end
if record.status ~= status then step(record.status) end
redis.call('HSET', registry, field, encode(record))

if ends and not awaited then
  local closed = false
  -- An execution that a user continued has an older end before that. (%d has 32 bits in some Luas.)
  local since = string.format('%.0f', (tonumber(record.x_reopened_at) or -1) + 1)
  for _, row in ipairs(redis.call('XREVRANGE', KEYS[2], '+', since, 'COUNT', 20)) do
    local ok, event = pcall(cjson.decode, row[2][2] or '')
    if ok and type(event) == 'table' and event.event_type == ARGV[8] and event.message_id == record.message_id then
      closed = true
    end
  end
  if not closed then
    redis.call('XADD', KEYS[2], '*', 'data', ARGV[7])
    redis.call('EXPIRE', KEYS[2], ARGV[12])
  end
end
if replies then redis.call('XADD', KEYS[3], '*', 'data', ARGV[9]) end
if tells then redis.call('XADD', KEYS[4], '*', 'data', ARGV[10]) end
return {ends and 'ended' or 'stopping', worker, ''}
