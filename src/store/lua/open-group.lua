-- Open a group of calls, before any of them is sent: an answer may come at once.
--
-- KEYS[1]  group   hash
-- ARGV[1]  ttl_s   lifetime, in seconds
-- ARGV[2+] fields and values
--
-- Returns 1, or 0 if it is open: an earlier try of the same turn opened it, and answers may have been counted since.
-- One script, because a group without a lifetime would stay for ever.
if redis.call('HEXISTS', KEYS[1], 'total') == 1 then return 0 end
redis.call('HSET', KEYS[1], unpack(ARGV, 2))
redis.call('EXPIRE', KEYS[1], ARGV[1])
return 1
