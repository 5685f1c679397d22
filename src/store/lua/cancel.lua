-- Ask one execution to stop.
--
-- KEYS[1]  registry  hash of the session
-- KEYS[2]  events    data stream of the session
-- ARGV[1]  execution_id
-- ARGV[2]  reason
-- ARGV[3]  now_ms
-- ARGV[4]  end_now   '1': if no turn of it runs, end it here (only when nobody waits for its reply)
-- ARGV[5]  end_event JSON of the end-of-stream event, or ''
-- ARGV[6]  ttl_s     lifetime of the data stream when the end event is written
-- ARGV[7]  terminal  JSON array of the states that end an execution
--
-- Returns {verdict, worker id}; verdict is
--   'missing'     no such execution
--   'finished'    it has ended; the wish is noted, so that a late reply of a child does not wake it
--   'cancelled'   nobody had begun it, or it waited for a person or a reply; it has ended now
--   'cancelling'  marked; the worker in the second place must be told
--
-- One script, because a worker may take the execution between a look and a mark.
local EMPTY = '[-1e+308]'
local function decode(text)
  return cjson.decode(string.find(text, '[]', 1, true) and string.gsub(text, '%[%]', EMPTY) or text)
end
local function encode(doc)
  local text = cjson.encode(doc)
  return string.find(text, EMPTY, 1, true) and string.gsub(text, '%[%-1e%+308%]', '[]') or text
end

local field = 'exec:' .. ARGV[1]
local text = redis.call('HGET', KEYS[1], field)
local ok, record = pcall(decode, text or '')
if not ok or type(record) ~= 'table' then return {'missing', ''} end
local now = tonumber(ARGV[3])
record.cancel_requested = true
record.updated_at = now
if ARGV[2] ~= '' or record.cancel_reason == nil then record.cancel_reason = ARGV[2] end

for _, state in ipairs(cjson.decode(ARGV[7])) do
  if record.status == state then
    redis.call('HSET', KEYS[1], field, encode(record))
    return {'finished', record.worker_id or ''}
  end
end

local owner = record.x_owner or ''
local untouched = (tonumber(record.started_at) or 0) == 0 and owner == ''
-- A turn of ours that suspended has left its attempt and no owner: no worker would ever end it (spec §10, R18).
local running = record.status == 'RUNNING' or record.status == 'CANCELLING'
local waits = record.x_attempt ~= nil and owner == '' and not running
local ends = (untouched or waits) and ARGV[4] == '1'
record.status = ends and 'CANCELLED' or 'CANCELLING'
if ends then record.finished_at = now end
if type(record.timeline) ~= 'table' then record.timeline = {} end
record.timeline[#record.timeline + 1] = {status = record.status, timestamp = now}
redis.call('HSET', KEYS[1], field, encode(record))
if ends and ARGV[5] ~= '' then
  redis.call('XADD', KEYS[2], '*', 'data', ARGV[5])
  redis.call('EXPIRE', KEYS[2], ARGV[6])
end
return {ends and 'cancelled' or 'cancelling', record.worker_id or ''}
