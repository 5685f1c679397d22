-- Put before the scripts that keep answers in journals.

-- Keep the answer to an entry of a durable execution's journal.
-- @param is_running whether a turn of it runs, which looks before it waits
-- @param question   message id of the entry: '…-{index}'
-- @return 'kept' or 'begin', for a turn has to begin, or why it is not kept: 'answered', 'unknown', 'early' (take-answer.lua
--   tells them); of one that is kept its index, its order, and when
local function keep_answer(journal, is_running, question, answer)
  local index = string.match(question, '%-(%d+)$')
  local entry = index and redis.call('HGET', journal, 'e:' .. index)
  if not entry or not string.find(entry, '"message_id":"' .. question .. '"', 1, true) then
    return is_running and 'early' or 'unknown'
  end
  local known = redis.call('HGET', journal, 'd:' .. index)
  if known then
    local order = tonumber(string.match(known, '^{"order":(%d+)')) or 0
    if is_running or order <= (tonumber(redis.call('HGET', journal, 'seen') or '0')) then return 'answered' end
    return 'begin'
  end
  local time = redis.call('TIME')
  local now = string.format('%.0f', tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000))
  local order = redis.call('HINCRBY', journal, 'n', 1)
  redis.call('HSET', journal, 'd:' .. index, '{"order":' .. order .. ',"at":' .. now .. ',"value":' .. answer .. '}')
  redis.call('HINCRBY', journal, 'bytes', #answer)
  return is_running and 'kept' or 'begin', index, order, now
end
