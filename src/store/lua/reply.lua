-- Accept a person's answer to an execution that waits for it, or the word that continues one that has ended.
--
-- KEYS[1]  registry  hash of the session
-- KEYS[2]  journal   hash of the execution, if it is durable
-- KEYS[3]  stream    control stream of its agent type; in a Cluster the session's outbox
-- ARGV[1]  execution_id
-- ARGV[2]  reply_id    of this answer: given again, it is accepted once
-- ARGV[3]  question    what is answered: an entry's message id, 'ask-{execution}@{attempt}' of a turn, or '' for whatever
--                      is asked by a worker of another SDK
-- ARGV[4]  continues   '1': it has ended, and this goes on with it; '0': it waits for this answer
-- ARGV[5]  answer      JSON, the outcome of a journal's entry
-- ARGV[6]  document    the RESUME, or in a Cluster the item of the outbox
-- ARGV[7]  user_code   who answers; '' for an operator, who may use any session
-- ARGV[8]  terminal    JSON array of the states that end an execution
-- ARGV[9]  ttl_s       lifetime of registry and journal
--
-- Returns {'accepted', entry id}
--         {'known'}: this reply was accepted before
--         {'answered', JSON {at, user_code, reply_id}}: somebody else's was; what is not known of it is absent
--         {'late'}: its time, or the execution's, has passed
--         {'ended', status}: the execution has ended, or is being cancelled
--         {'open', status}: it was to be continued, and has not ended
--         {'running'}: a turn runs that may be about to ask
--         {'unasked', status}: it waits, but not for this answer
--         {'foreign'}: the session belongs to another user; {'missing'}: no such execution
--         {'reused'}: the id of this reply was another's
-- Nothing was written after any but the first.
--
-- One script, because two people who both find a question open would both be told that theirs is the answer. Who answers
-- a journal's question is its outcome (take-answer.lua finds it there); who answers a turn is noted in the registry, where no
-- other SDK overwrites it: x_answer:{execution}, and x_reply:{reply} for each that was accepted.
local registry, journal = KEYS[1], KEYS[2]
local id, reply_id, question, user = ARGV[1], ARGV[2], ARGV[3], ARGV[7]
if user ~= '' and redis.call('HGET', registry, 'x_user_code') ~= user then return {'foreign'} end
local text = redis.call('HGET', registry, 'exec:' .. id)
local ok, record = pcall(cjson.decode, text or '')
if not text or not ok or type(record) ~= 'table' then return {'missing'} end
local known = redis.call('HGET', registry, 'x_reply:' .. reply_id)
if known then return {known == id and 'known' or 'reused'} end

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local function whole(n) return string.format('%.0f', n) end
local function words(value) return type(value) == 'string' and value or '' end
local status = words(record.status)
local has_ended = false
for _, state in ipairs(cjson.decode(ARGV[8])) do
  if status == state then has_ended = true end
end
local is_running = words(record.x_owner) ~= '' or status == 'RUNNING'

local index
if ARGV[4] == '1' then
  if not has_ended then return {'open', status} end
else
  if has_ended or status == 'CANCELLING' or record.cancel_requested == true then return {'ended', status} end
  if record.x_deadline ~= nil and tonumber(record.x_deadline) <= now then return {'late'} end
  index = string.match(question, '%-(%d+)$')
  local entry = index and redis.call('HGET', journal, 'e:' .. index)
  if not entry or not string.find(entry, '"message_id":"' .. question .. '"', 1, true) then index = nil end
  if index then
    local outcome = redis.call('HGET', journal, 'd:' .. index)
    if outcome then
      local is_read, doc = pcall(cjson.decode, outcome)
      local value = is_read and type(doc) == 'table' and type(doc.value) == 'table' and doc.value or {}
      if value.status == 'EXPIRED' then return {'late'} end
      local metadata = type(value.metadata) == 'table' and value.metadata or {}
      return {'answered', cjson.encode({
        at = is_read and doc.at or nil, user_code = metadata.by_user_code, reply_id = metadata.by_reply,
      })}
    end
    local due = tonumber(string.match(entry, '"due_at":(%d+)}$') or '0')
    if due > 0 and due <= now then return {'late'} end
  elseif is_running then
    return {'running'}
  elseif status ~= 'WAITING_USER' or redis.call('EXISTS', journal) == 1 then
    return {'unasked', status}
  elseif question ~= '' and question ~= 'ask-' .. id .. '@' .. whole(tonumber(record.x_attempt) or 0) then
    return {'unasked', status}
  end
end

-- The turn that waits, or ended it: another one has another number, and each leaves its end in the timeline.
local steps = type(record.timeline) == 'table' and #record.timeline or 0
local turn = whole(tonumber(record.x_attempt) or 0) .. '/' .. steps
local mark = 'x_answer:' .. id
if not index then
  local is_read, doc = pcall(cjson.decode, redis.call('HGET', registry, mark) or '')
  if is_read and type(doc) == 'table' and doc.turn == turn then return {'answered', cjson.encode(doc)} end
end

local entry_id = redis.pcall('XADD', KEYS[3], '*', 'data', ARGV[6])
if type(entry_id) == 'table' and entry_id.err then return entry_id end
redis.call('HSET', registry, 'x_reply:' .. reply_id, id)
if index then
  local order = redis.call('HINCRBY', journal, 'n', 1)
  redis.call('HSET', journal, 'd:' .. index,
    '{"order":' .. order .. ',"at":' .. whole(now) .. ',"value":' .. ARGV[5] .. '}')
  redis.call('HINCRBY', journal, 'bytes', #ARGV[5])
  redis.call('EXPIRE', journal, ARGV[9])
else
  redis.call('HSET', registry, mark, cjson.encode({turn = turn, at = now, user_code = user, reply_id = reply_id}))
end
redis.call('EXPIRE', registry, ARGV[9])
return {'accepted', entry_id}
