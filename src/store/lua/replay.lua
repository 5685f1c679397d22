-- Put a dead letter's command back to work, once.
--
-- KEYS[1]  deadletter  stream
-- KEYS[2]  marker      string with TTL: what became of this entry
-- KEYS[3]  registry    hash of the session
-- KEYS[4]  audit       stream
-- KEYS[5+] targets     streams, one for each document
-- ARGV[1]  entry       id in the dead letters
-- ARGV[2]  execution_id  of the new execution
-- ARGV[3]  message_id
-- ARGV[4]  record      JSON of the new execution
-- ARGV[5]  registry_ttl_s
-- ARGV[6]  audit       JSON: who, why, what came of it; the marker holds the same
-- ARGV[7]  marker_ttl_s
-- ARGV[8]  keep        '1': the dead letter stays (its marker still forbids a second replay)
-- ARGV[9]  audit_cap   entries the audit stream keeps, roughly
-- ARGV[10] limit       most entries a target may hold, or '0'
-- ARGV[11+] documents  JSON
--
-- Returns {'replayed', entry id in the first target}, {'already', marker}, {'missing'} or {'full'}.
-- One script, because a replay that stops half way either loses the command or runs it twice.
local marker = redis.call('GET', KEYS[2])
if marker then return {'already', marker} end
if #redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1]) == 0 then return {'missing'} end
-- Everything is looked at before anything is written: a key of the wrong type must not leave half of it behind.
redis.call('HEXISTS', KEYS[3], 'exec:' .. ARGV[2])
redis.call('XLEN', KEYS[4])
local limit = tonumber(ARGV[10])
for i = 5, #KEYS do
  if redis.call('XLEN', KEYS[i]) >= limit and limit > 0 then return {'full'} end
end
redis.call('HSET', KEYS[3], 'exec:' .. ARGV[2], ARGV[4], 'msg_map:' .. ARGV[3], ARGV[2])
redis.call('EXPIRE', KEYS[3], ARGV[5])
local first
for i = 5, #KEYS do
  local entry = redis.call('XADD', KEYS[i], '*', 'data', ARGV[i + 6])
  first = first or entry
end
redis.call('SET', KEYS[2], ARGV[6], 'EX', ARGV[7])
redis.call('XADD', KEYS[4], 'MAXLEN', '~', ARGV[9], '*', 'data', ARGV[6])
if ARGV[8] ~= '1' then redis.call('XDEL', KEYS[1], ARGV[1]) end
return {'replayed', first}
