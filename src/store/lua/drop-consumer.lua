-- Delete a consumer that has nothing.
--
-- KEYS[1]  stream
-- ARGV[1]  group
-- ARGV[2]  consumer
--
-- Returns 1 if it is gone, 0 if entries are pending for it.
-- One script, because deleting a consumer takes its pending entries out of everybody's reach.
if #redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, ARGV[2]) > 0 then return 0 end
redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2])
return 1
