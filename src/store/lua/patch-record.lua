-- Change fields of an execution's record, unless it has ended.
--
-- KEYS[1]  registry  hash of the session
-- ARGV[1]  execution_id, or '' for none
-- ARGV[2]  terminal  JSON array of the states that end an execution
-- ARGV[3]  patch     JSON object merged into the record, or ''
--
-- Returns 'ended' or 'open'; an execution without a record is open.
local EMPTY = '[-1e+308]'
local function decode(text) return cjson.decode((string.gsub(text, '%[%]', EMPTY))) end
local function encode(doc) return (string.gsub(cjson.encode(doc), '%[%-1e%+308%]', '[]')) end
local text = ARGV[1] ~= '' and redis.call('HGET', KEYS[1], 'exec:' .. ARGV[1])
local ok, record = pcall(decode, text or '')
if not ok or type(record) ~= 'table' then return 'open' end
for _, state in ipairs(cjson.decode(ARGV[2])) do
  if record.status == state then return 'ended' end
end
if ARGV[3] ~= '' then
  for field, value in pairs(decode(ARGV[3])) do record[field] = value end
  redis.call('HSET', KEYS[1], 'exec:' .. ARGV[1], encode(record))
end
return 'open'
