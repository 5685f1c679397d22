-- Change fields of an execution's record, unless it has ended.
--
-- KEYS[1]  registry  hash of the session
-- ARGV[1]  execution_id, or '' for none
-- ARGV[2]  terminal  JSON array of the states that end an execution
-- ARGV[3]  patch     JSON object merged into the record, or ''
-- ARGV[4]  step      names the step of several that this is the first of: repeated, it is not in its own way
--
-- Returns 'ended' or 'open'; an execution without a record is open, and one that this very step ended before.
local text = ARGV[1] ~= '' and redis.call('HGET', KEYS[1], 'exec:' .. ARGV[1])
local ok, record = pcall(decode, text or '')
if not ok or type(record) ~= 'table' then return 'open' end
for _, state in ipairs(cjson.decode(ARGV[2])) do
  if record.status == state then return record.x_step == ARGV[4] and 'open' or 'ended' end
end
if ARGV[3] ~= '' then
  local patch = decode(ARGV[3])
  for field, value in pairs(patch) do record[field] = value end
  if patch.status then record.x_step = ARGV[4] end
  redis.call('HSET', KEYS[1], 'exec:' .. ARGV[1], encode(record))
end
return 'open'
