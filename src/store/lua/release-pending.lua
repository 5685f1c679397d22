-- Release one pending delivery: to its agent type's control stream, to the dead letters, or to nowhere.
--
-- KEYS[1]  queue     sorted set of the agent type
-- KEYS[2]  payloads  hash: entry id -> document
-- KEYS[3]  types     set of agent types that have a queue
-- KEYS[4]  target    stream that gets the document; unused when it is ''
-- KEYS[5]  registry  hash of the session; its record learns where the command went
-- KEYS[6]  reply     control stream of the caller; unused without a reply
-- ARGV[1]  entry     id of the delivery
-- ARGV[2]  document  JSON for the target, or '' to drop the delivery
-- ARGV[3]  agent_type
-- ARGV[4]  execution_id
-- ARGV[5]  terminal  JSON array of the states that end an execution
-- ARGV[6]  patch     JSON object merged into the record, or ''
-- ARGV[7]  limit     most entries the target may hold, or '0'
-- ARGV[8]  reply     JSON of the RESUME to the caller, if the execution ends here, or ''
--
-- Returns 'released', 'gone' (another manager was faster), 'ended' (the execution has ended: dropped) or 'full' (the
-- target is: nothing was changed).
-- One script, because a delivery that is written and then removed can be written twice.
local limit = tonumber(ARGV[7])
if limit > 0 and redis.call('XLEN', KEYS[4]) >= limit then
  return redis.call('ZSCORE', KEYS[1], ARGV[1]) and 'full' or 'gone'
end
if redis.call('ZREM', KEYS[1], ARGV[1]) == 0 then return 'gone' end
redis.call('HDEL', KEYS[2], ARGV[1])
if redis.call('ZCARD', KEYS[1]) == 0 then redis.call('SREM', KEYS[3], ARGV[3]) end

local text = ARGV[4] ~= '' and redis.call('HGET', KEYS[5], 'exec:' .. ARGV[4])
-- A record that can not be read must not cost the delivery, which is out of its queue by now.
local ok, record = pcall(decode, text or '')
if ok and type(record) == 'table' then
  for _, state in ipairs(cjson.decode(ARGV[5])) do
    if record.status == state then return 'ended' end
  end
  if ARGV[6] ~= '' then
    for field, value in pairs(decode(ARGV[6])) do record[field] = value end
    redis.call('HSET', KEYS[5], 'exec:' .. ARGV[4], encode(record))
  end
  if ARGV[8] ~= '' then redis.call('XADD', KEYS[6], '*', 'data', ARGV[8]) end
end
if ARGV[2] ~= '' then redis.call('XADD', KEYS[4], '*', 'data', ARGV[2]) end
return 'released'
