-- Begin a turn: one worker takes an execution, and gets a fence that all its later writes must show.
--
-- KEYS[1]  registry      hash of the session
-- ARGV[1]  message_id    of the command
-- ARGV[2]  hint          execution id the sender put into the command, or ''
-- ARGV[3]  new_record    JSON, used when no record exists (the sender wrote none); '' to be asked for it then
-- ARGV[4]  new_id        execution id in that record
-- ARGV[5]  owner         worker id and incarnation
-- ARGV[6]  worker_id
-- ARGV[7]  entry         '{stream}/{entry id}' of the command: says whether this is a repeat of the same delivery
-- ARGV[8]  now_ms        for the record's timestamps, which are information only
-- ARGV[9]  reopen        '1': a user's RESUME, which may continue a finished execution
-- ARGV[10] ttl_s         lifetime of the registry when this script creates it
-- ARGV[11] terminal      JSON array of the states that end an execution
-- ARGV[12] ask           '1': an ASK, which begins an execution; '0': a RESUME
-- ARGV[13] dead_owner    owner that is known to be gone, whose attempt may be taken over; '' if none is
-- ARGV[14] max_attempts  starts an execution has, in all
-- ARGV[15] cap           attempts the record remembers
-- ARGV[16] reply         JSON of what a reply to the caller needs, noted for whoever ends the execution; '' if nobody waits
-- ARGV[17] user_code     on whose behalf the command was sent, or ''; a session that is nobody's becomes theirs
-- ARGV[18] answered      message id of the call that this RESUME answers, or ''
-- ARGV[19] group         the call's group, of which this answer is the one that was waited for; '' without one
-- ARGV[20] question      what a person's RESUME answers, 'ask-{execution}@{attempt}' (reply.lua); '' if it does not say
-- ARGV[21] callee        message id of the call that an agent's RESUME answers: says what it continues (resumed.lua); or ''
--
-- Returns {verdict, execution id, record after the step, milliseconds to its deadline or ''}; verdict is
--   'unknown'    no record exists, and none was given: nothing was written
--   'started'    the turn is ours
--   'cancelled'  it was cancelled before anybody began, or its caller was: finish it as CANCELLED, under the fence in
--                the record
--   'expired'    its deadline has passed: finish it as FAILED, under the fence in the record
--   'terminal'   it has ended, or the turn this entry began has, or another entry with the same ASK began it:
--                acknowledge and go on
--   'busy'       another turn of it runs, or is to be tried again, for another command: try again later
--   'unawaited'  it does not wait for this answer: not any more, or never did. Acknowledge and go on
--   'held'       another owner runs this very entry: it is not ours, unless that owner is gone
--   'exhausted'  it has used up its starts: finish it as FAILED, under the fence in the record
--
-- An attempt that neither ended nor was handed back is counted as a crash (x_crashes), apart from failures
-- (x_failures, counted by end-attempt.lua).
--
-- One script, because reading the state and then taking it lets a cancel, or a second worker, slip between.
local registry, message_id = KEYS[1], ARGV[1]

local id, text = ARGV[2], false
if id == '' and ARGV[12] ~= '1' then id = resumed(registry, message_id, ARGV[21]) or '' end
if id ~= '' then text = redis.call('HGET', registry, 'exec:' .. id) end

local begun = text and ARGV[12] == '1'
  and begin_as_text(registry, text, message_id, ARGV[16], ARGV[5], ARGV[6], ARGV[7], ARGV[8])
if begun then
  redis.call('HSET', registry, 'exec:' .. id, begun)
  if ARGV[17] ~= '' then redis.call('HSETNX', registry, 'x_user_code', ARGV[17]) end
  return {'started', id, begun, ''}
end

local terminal = {}
for _, state in ipairs(cjson.decode(ARGV[11])) do terminal[state] = true end
local ok, record = pcall(decode, text or '')
local is_known = text and ok and type(record) == 'table'
if is_known and ARGV[12] ~= '1' and type(record.message_id) == 'string' and record.message_id ~= '' then
  message_id = record.message_id
end
if not is_known or record.message_id ~= message_id then
  id = redis.call('HGET', registry, 'msg_map:' .. message_id)
  text = id and redis.call('HGET', registry, 'exec:' .. id)
  ok, record = pcall(decode, text or '')
end

local created = false
if not text or not ok or type(record) ~= 'table' then
  if ARGV[3] == '' then return {'unknown', '', ''} end
  id, record, created = ARGV[4], decode(ARGV[3]), true
end

local status = record.status or ''
if terminal[status] and (ARGV[9] ~= '1' or ARGV[20] ~= '') then return {'terminal', id, text or ''} end
local entry, owner, dead_owner = ARGV[7], record.x_owner or '', ARGV[13]
if record.x_ended == entry then return {'terminal', id, text or ''} end
-- A cancel also stops what was sent to the execution before it.
local sent_ms = tonumber(string.match(entry, '/(%d+)%-%d+$')) or 0
if terminal[status] and sent_ms <= (tonumber(record.x_cancelled_at) or 0) then return {'terminal', id, text or ''} end
if ARGV[12] == '1' and not created then
  -- The ASK comes first: once any turn has ended, its own has.
  local other = record.x_entry ~= nil and record.x_entry ~= entry
  if record.x_ended ~= nil or other then return {'terminal', id, text or ''} end
end
local is_new = not created and record.x_entry ~= entry
local in_turn = record.x_entry ~= nil and record.x_entry ~= record.x_ended and not terminal[status]
if ARGV[12] ~= '1' and is_new and in_turn then
  return {'busy', id, text or ''}
end
local answered = ARGV[18]
if answered ~= '' and is_new then
  -- What our workers wait for they note; a worker of another SDK that ran a turn since has called without a note.
  local waiting = record.x_waiting
  if type(waiting) ~= 'table' or type(waiting.calls) ~= 'table' or waiting.worker_id ~= record.worker_id then
    waiting = nil
  end
  if type(record.x_answered) ~= 'table' then record.x_answered = {} end
  if (waiting and waiting.calls[answered] == nil) or record.x_answered[answered] then
    return {'unawaited', id, text or ''}
  end
  if waiting then
    waiting.worker_id = ARGV[6]
    waiting.calls[answered] = nil
    for call, group in pairs(waiting.calls) do
      if ARGV[19] ~= '' and group == ARGV[19] then waiting.calls[call] = nil end
    end
  else
    record.x_answered[answered] = true
  end
  if next(record.x_answered) == nil then record.x_answered = nil end
end
-- Another turn has begun since it was asked, or it has ended: nobody waits for that answer any more.
local asked_in = is_new and string.match(ARGV[20], '@(%d+)$')
if asked_in and tonumber(asked_in) ~= (tonumber(record.x_attempt) or 0) then return {'unawaited', id, text or ''} end
if owner ~= '' and not created then
  if record.x_entry ~= entry then return {'busy', id, text or ''} end
  if owner ~= ARGV[5] and owner ~= dead_owner then return {'held', id, text or ''} end
end

local now = tonumber(ARGV[8])
local crashes, failures = tonumber(record.x_crashes) or 0, tonumber(record.x_failures) or 0
local max = tonumber(ARGV[14])
-- A finished execution that a user continues begins anew: its cancel and its deadline concerned what has ended.
if terminal[status] then
  crashes, failures, record.x_crashes, record.x_failures = 0, 0, nil, nil
  record.x_cancelled_at, record.x_deadline = nil, nil
  if type(record.x_waiting) == 'table' then record.x_waiting.calls = {} end
  local time = redis.call('TIME')
  record.x_reopened_at = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
  if record.cancel_requested then record.cancel_requested, record.cancel_reason = false, '' end
end
-- Other SDKs note no owner: there the state alone says that somebody had begun.
local broken_off = owner ~= '' or (status == 'RUNNING' and dead_owner ~= '')
if broken_off and not created and crashes + failures < max then
  crashes = crashes + 1
  record.x_crashes = crashes
  if type(record.x_attempts) ~= 'table' then record.x_attempts = {} end
  record.x_attempts[#record.x_attempts + 1] = {
    attempt = record.x_attempt, worker_id = record.worker_id or '', ended = 'crashed',
    error = 'the worker was gone before the attempt ended', at = now,
  }
  while #record.x_attempts > tonumber(ARGV[15]) do table.remove(record.x_attempts, 1) end
end
local has_begun = (tonumber(record.started_at) or 0) ~= 0
local parent = record.parent_message_id
if ARGV[12] == '1' and not has_begun and status ~= 'CANCELLING' and type(parent) == 'string' and parent ~= '' then
  -- Senders of ours are refused when the caller was cancelled (accept.lua); others do not look.
  if cancelled(record_of(registry, parent)) then
    status, record.status, record.cancel_requested = 'CANCELLING', 'CANCELLING', true
    record.cancel_reason = 'what it belongs to was cancelled'
  end
end
local cancelled = status == 'CANCELLING' and not has_begun
local left = ''
if record.x_deadline ~= nil then
  local time = redis.call('TIME')
  left = tonumber(record.x_deadline) - tonumber(time[1]) * 1000 - math.floor(tonumber(time[2]) / 1000)
end
local expired = left ~= '' and left <= 0 and status ~= 'CANCELLING'
local exhausted = status ~= 'CANCELLING' and not expired and crashes + failures >= max
record.x_attempt = (tonumber(record.x_attempt) or 0) + 1
record.x_owner = ARGV[5]
record.x_fence = record.x_attempt .. '@' .. ARGV[5]
record.x_entry = entry
record.x_retry_at = nil
record.worker_id = ARGV[6]
record.updated_at = now
if ARGV[16] ~= '' and record.x_reply == nil then record.x_reply = decode(ARGV[16]) end
if not cancelled and not expired and not exhausted and status ~= 'CANCELLING' then
  record.status = 'RUNNING'
  if (tonumber(record.started_at) or 0) == 0 then record.started_at = now end
  if type(record.timeline) ~= 'table' then record.timeline = {} end
  if not (created and #record.timeline > 0) then
    record.timeline[#record.timeline + 1] = {status = 'RUNNING', timestamp = now}
  end
end

local after = encode(record)
if ARGV[17] ~= '' then redis.call('HSETNX', registry, 'x_user_code', ARGV[17]) end
if created then
  redis.call('HSET', registry, 'exec:' .. id, after, 'msg_map:' .. message_id, id)
  redis.call('EXPIRE', registry, ARGV[10])
else
  redis.call('HSET', registry, 'exec:' .. id, after)
end
local verdict = cancelled and 'cancelled' or expired and 'expired' or exhausted and 'exhausted' or 'started'
return {verdict, id, after, tostring(left)}
