-- Put a dead letter's command back to work, once.
--
-- KEYS[1]  deadletter  stream
-- KEYS[2]  marker      string with TTL: what became of this entry
-- KEYS[3]  target      control stream
-- KEYS[4]  registry    hash of the session
-- KEYS[5]  audit       stream
-- ARGV[1]  entry       id in the dead letters
-- ARGV[2]  command     JSON
-- ARGV[3]  execution_id  of the new execution
-- ARGV[4]  message_id
-- ARGV[5]  record      JSON of the new execution
-- ARGV[6]  registry_ttl_s
-- ARGV[7]  marker_value  JSON: replay id, new execution
-- ARGV[8]  marker_ttl_s
-- ARGV[9]  audit       JSON
-- ARGV[10] keep        '1': the dead letter stays (its marker still forbids a second replay)
-- ARGV[11] audit_cap   entries the audit stream keeps, roughly
--
-- Returns {'replayed', entry id in the target}, {'already', marker} or {'missing'}.
-- One script, because a replay that stops half way either loses the command or runs it twice.
local marker = redis.call('GET', KEYS[2])
if marker then return {'already', marker} end
if #redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1]) == 0 then return {'missing'} end
local entry = redis.call('XADD', KEYS[3], '*', 'data', ARGV[2])
redis.call('HSET', KEYS[4], 'exec:' .. ARGV[3], ARGV[5], 'msg_map:' .. ARGV[4], ARGV[3])
redis.call('EXPIRE', KEYS[4], ARGV[6])
redis.call('SET', KEYS[2], ARGV[7], 'EX', ARGV[8])
redis.call('XADD', KEYS[5], 'MAXLEN', '~', ARGV[11], '*', 'data', ARGV[9])
if ARGV[10] ~= '1' then redis.call('XDEL', KEYS[1], ARGV[1]) end
return {'replayed', entry}
