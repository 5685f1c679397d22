-- Put before the scripts that write what an attempt had said and not written.

-- Append events in order, but for those of the first `unsure` that are there: a write whose answer was lost may have
-- been carried out. Looked for among the newest of the session, which others write to at the same time.
local LATEST = 1000
local function append_rest(stream, args, first, unsure)
  local written = {}
  if unsure > 0 then
    for _, entry in ipairs(redis.call('XREVRANGE', stream, '+', '-', 'COUNT', LATEST)) do written[entry[2][2]] = true end
  end
  for i = first, #args do
    if i - first >= unsure or not written[args[i]] then redis.call('XADD', stream, '*', 'data', args[i]) end
  end
end
