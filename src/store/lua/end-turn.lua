-- Put before the scripts that end a turn, after records.lua.

-- The short way: a first attempt that ends as most do is written as text, as begun.lua began it; see there.
-- @return the record after the turn, or nil if it takes the long way
local function end_as_text(text, fence, patch)
  local status, now, finished_at = string.match(patch, '^{"status":"(%u+)","updated_at":(%d+),"finished_at":(%d+)}$')
  local at = status and string.find(text, '","status":"RUNNING","created_at":', 1, true)
  local bracket = at and string.find(text, '[', 1, true)
  local brace = bracket and string.find(text, '{', 2, true)
  if not brace or bracket < at or brace < bracket or string.sub(fence, 1, 2) ~= '1@' then return nil end
  local created, started, timeline, from = string.match(text, '^","status":"RUNNING",("created_at":%d+,"updated_at":)%d+'
    .. '(,"started_at":%d+,"finished_at":)0(,"timeline":%[[^%]]*)()%]', at)
  if not created then return nil end
  local owned = ',"x_attempt":1,"x_owner":"' .. string.sub(fence, 3) .. '","x_fence":"' .. fence .. '","x_entry":"'
  local ours, before_entry = string.find(text, owned, from, true)
  local entry = ours and string.match(text, '^([^"\\]*)"}$', before_entry + 1)
  if not entry then return nil end
  return string.sub(text, 1, at + 11) .. status .. '",' .. created .. now .. started .. finished_at .. timeline
    .. ',{"status":"' .. status .. '","timestamp":' .. now .. '}' .. string.sub(text, from, ours - 1)
    .. ',"x_attempt":1,"x_owner":"","x_fence":"","x_entry":"' .. entry .. '","x_ended":"' .. entry .. '"}'
end

-- @return the record after the turn, or nil and why there is none: 'terminal', 'fenced', 'cancelling'
local function end_turn(text, fence, patch, terminal)
  local record = decode(text)
  local ends = false
  for _, state in ipairs(cjson.decode(terminal)) do
    if record.status == state then return nil, 'terminal' end
    if patch.status == state then ends = true end
  end
  if record.x_fence ~= fence then return nil, 'fenced' end
  if record.status == 'CANCELLING' and not ends then return nil, 'cancelling' end
  for field, value in pairs(patch) do record[field] = value end
  if type(record.timeline) ~= 'table' then record.timeline = {} end
  record.timeline[#record.timeline + 1] = {status = patch.status, timestamp = patch.updated_at}
  -- The turn is over: nothing more may be written under its fence.
  record.x_fence = ''
  record.x_owner = ''
  -- Delivered again, this entry is known to be done, also while the execution waits.
  record.x_ended = record.x_entry
  return encode(record)
end
