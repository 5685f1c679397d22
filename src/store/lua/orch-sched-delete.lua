-- Delete a schedule. Its tasks stay.
--
-- KEYS[1]  schedule  hash
-- KEYS[2]  name      string: the id behind the name
-- KEYS[3]  all       sorted set of schedules
-- KEYS[4]  due       sorted set of those that will fire
-- KEYS[5]  firing    sorted set of those with ticks that are being submitted
-- KEYS[6]  ticks     stream: what became of its ticks
-- ARGV[1]  id
--
-- Returns 1, or 0 if it was gone.
if redis.call('GET', KEYS[2]) == ARGV[1] then redis.call('DEL', KEYS[2]) end
redis.call('ZREM', KEYS[3], ARGV[1])
redis.call('ZREM', KEYS[4], ARGV[1])
redis.call('ZREM', KEYS[5], ARGV[1])
redis.call('DEL', KEYS[6])
return redis.call('DEL', KEYS[1])
