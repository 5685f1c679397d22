-- Put before the scripts that carry out a RESUME, after records.lua: which execution it continues, spec §6.7.
--
-- An agent's RESUME names its question, the callee's message: the callee's record says who called, if one of ours did.
-- Else it is the execution of the RESUME's own message (Python, people), else that of the callee's parent (TypeScript,
-- Java).
local function record_by_id(registry, id)
  local text = id and redis.call('HGET', registry, 'exec:' .. id)
  local ok, record = pcall(decode, text or '')
  if text and ok and type(record) == 'table' then return id, record end
end
local function record_by_message(registry, message_id)
  if type(message_id) ~= 'string' or message_id == '' then return nil end
  return record_by_id(registry, redis.call('HGET', registry, 'msg_map:' .. message_id))
end
-- @param callee_message  message id of the call that is answered; '' if no agent sent it
-- @return execution id and record, or nil
local function resumed(registry, message_id, callee_message)
  local _, callee = record_by_message(registry, callee_message)
  local id, record
  if callee and type(callee.x_caller) == 'string' then id, record = record_by_id(registry, callee.x_caller) end
  if not id then id, record = record_by_message(registry, message_id) end
  if not id and callee then id, record = record_by_message(registry, callee.parent_message_id) end
  return id, record
end
