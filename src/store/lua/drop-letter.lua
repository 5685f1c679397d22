-- Delete a dead letter for good.
--
-- KEYS[1]  deadletter  stream
-- KEYS[2]  audit       stream
-- ARGV[1]  entry       id in the dead letters
-- ARGV[2]  audit       JSON: who, and why
-- ARGV[3]  audit_cap   entries the audit stream keeps, roughly
--
-- Returns 1, or 0 if it was not there.
-- One script, because what is gone without a word can not be asked about.
redis.call('XLEN', KEYS[2])
if redis.call('XDEL', KEYS[1], ARGV[1]) == 0 then return 0 end
redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[3], '*', 'data', ARGV[2])
return 1
