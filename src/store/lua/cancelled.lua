-- Put before the scripts that look whether somebody else was cancelled.
-- @return a record as it is stored, by its message, or false
local function record_of(registry, message_id)
  local id = redis.call('HGET', registry, 'msg_map:' .. message_id)
  return id and redis.call('HGET', registry, 'exec:' .. id)
end
-- Decoding costs more than all else such a script does: only what may say so is decoded.
-- @return the record, if its cancel was asked for
local function cancelled(text)
  if not text or not string.find(text, '"cancel_requested"%s*:%s*true') then return nil end
  local ok, doc = pcall(cjson.decode, text)
  return ok and type(doc) == 'table' and doc.cancel_requested == true and doc or nil
end
