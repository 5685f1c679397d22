-- Put before the scripts that begin turns, after cancelled.lua: the short way to begin one.
--
-- A record that is still as our sender wrote it is edited as text: decoding and encoding it costs ten times as much. It
-- begins with fields that are all texts; quotes inside of a text are escaped, so nothing that is looked for with its
-- quotes can be inside of one. A record that is not known to the letter takes the long way.
--
-- @param reply    what a reply to the caller needs, or ''
-- @return the record after the step, or nil if it takes the long way
local function begin_as_text(registry, text, message_id, reply, owner, worker_id, entry, now)
  local at = string.find(text, '","status":"QUEUED","created_at":', 1, true)
  local bracket = at and string.find(text, '[', 1, true)
  local brace = bracket and string.find(text, '{', 2, true)
  if not brace or bracket < at or brace < bracket or string.find(text, '{"execution_id":"', 1, true) ~= 1
    or string.find(entry, '["\\%c]') then return nil end
  local named = string.find(text, '","message_id":"' .. message_id .. '","session_id":"', 1, true)
  local _, before_parent = string.find(text, '","parent_message_id":"', 1, true)
  if not named or named > at or not before_parent or before_parent > at then return nil end
  local created, queued, from = string.match(text, '^","status":"QUEUED",("created_at":%d+,"updated_at":)%d+,'
    .. '"started_at":0,("finished_at":0,"timeline":%[{"status":"QUEUED","timestamp":%d+})()%].*}$', at)
  if not created or string.find(text, '"cancel_', from, true) or string.find(text, '"worker_id"', from, true) then
    return nil
  end

  -- Of our own fields it may have those of a call, protocol/reply.ts, and who waits for a reply is noted already.
  local ours, is_noted = string.find(text, '"x_', from, true), false
  if ours then
    local rest = string.match(text, '^,"x_depth":%d+(.*)}$', ours - 1)
    is_noted = rest ~= nil and string.find(rest, '^,"x_reply":%b{},"x_caller":"[^"\\]*"$') ~= nil
    if rest ~= '' and not is_noted then return nil end
  end
  if reply ~= '' and not is_noted then return nil end

  local parent = string.match(text, '^[^"\\]*', before_parent + 1)
  if parent ~= '' and cancelled(record_of(registry, parent)) then return nil end
  return string.sub(text, 1, at + 11) .. 'RUNNING",' .. created .. now .. ',"started_at":' .. now .. ',' .. queued
    .. ',{"status":"RUNNING","timestamp":' .. now .. '}' .. string.sub(text, from, -2) .. ',"worker_id":"' .. worker_id
    .. '","x_attempt":1,"x_owner":"' .. owner .. '","x_fence":"1@' .. owner .. '","x_entry":"' .. entry .. '"}'
end
