-- Remove a string if it still holds what the caller saw.
--
-- KEYS[1]  key
-- ARGV[1]  value
--
-- Returns 1, or 0 if it holds something else by now: that is somebody else's.
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
