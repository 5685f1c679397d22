-- Put before the scripts that end a turn, after records.lua.
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
