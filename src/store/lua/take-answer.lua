-- Carry out a RESUME to a durable execution: keep what it brings, and begin a turn if nobody runs one.
--
-- KEYS[1]      registry  hash of the session
-- ARGV[1-21]   as claim.lua; the hint and the record to write are ''
-- ARGV[22] answer   JSON
-- ARGV[23] named    '1': the question is ARGV[24]; '0': it is the one a person was asked first
-- ARGV[24] question message id of the entry that is answered: '…-{index}'
-- ARGV[25] journal_prefix  the journal is prefix .. execution id .. suffix, in the registry's slot
-- ARGV[26] journal_suffix
--
-- Returns one of
--   {'begin', what claim.lua returned, fields and values of the journal if the turn was started}: it is kept, or was by an
--             earlier try that no turn has seen yet, or answers nothing that is known; and nobody runs the execution
--   {'kept', execution id, fence of the turn that runs, index, order, Unix ms}: that turn finds it before it waits
--   {'answered'}  there was an answer before, and a turn has seen that
--   {'unknown'}   nothing like that was asked
--   {'early'}     the same, but a turn runs that may be about to ask
--   {'terminal'}  the execution has ended
-- One script, because the turn must not begin to wait between the look and the write. Who runs a turn holds an entry
-- that is delivered again if he dies, so a kept answer is never forgotten.
local registry = KEYS[1]

local function first_open_question(journal)
  local fields, open, found = redis.call('HGETALL', journal), nil, nil
  local answered = {}
  for i = 1, #fields, 2 do
    local index = string.match(fields[i], '^d:(%d+)$')
    if index then answered[index] = true end
  end
  for i = 1, #fields, 2 do
    local index = string.match(fields[i], '^e:(%d+)$')
    if index and not answered[index] and (not open or tonumber(index) < open) then
      local ok, entry = pcall(cjson.decode, fields[i + 1])
      if ok and type(entry) == 'table' and entry.kind == 'ask-user' then open, found = tonumber(index), entry.message_id end
    end
  end
  return found
end

local id, record = resumed(registry, ARGV[1], ARGV[21])
local journal = ARGV[25] .. (id or '') .. ARGV[26]
-- A RESUME whose own turn was cut off begins it again.
if record and record.x_entry ~= ARGV[7] then
  local is_over = string.find(ARGV[11], '"' .. tostring(record.status) .. '"', 1, true) ~= nil
  local question = ARGV[24]
  if ARGV[23] ~= '1' then question = not is_over and first_open_question(journal) or nil end
  if question then
    if is_over then return {'terminal'} end
    local is_running = type(record.x_owner) == 'string' and record.x_owner ~= ''
    local verdict, index, order, at = keep_answer(journal, is_running, question, ARGV[22])
    if verdict == 'kept' then return {verdict, id, tostring(record.x_fence), index, tostring(order), at} end
    if verdict ~= 'begin' then return {verdict} end
  end
end
ARGV[2] = id or ''
local claimed = claim(KEYS, ARGV)
return {'begin', claimed, claimed[1] == 'started' and redis.call('HGETALL', journal) or {}}
