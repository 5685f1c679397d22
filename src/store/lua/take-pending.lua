-- Take a pending delivery from the stream the routers write to into the queue of its agent type.
--
-- KEYS[1]  pending   stream all routers write to
-- KEYS[2]  queue     sorted set of the agent type: entry id, best first
-- KEYS[3]  payloads  hash: entry id -> document
-- KEYS[4]  types     set of agent types that have a queue
-- ARGV[1]  group
-- ARGV[2]  entry     id in the stream
-- ARGV[3]  document  JSON, as it came
-- ARGV[4]  score     lower goes first
-- ARGV[5]  agent_type
-- ARGV[6]  member    names the delivery from now on
--
-- Returns 1, or 0 if somebody else settled the entry.
if redis.call('XACK', KEYS[1], ARGV[1], ARGV[2]) == 0 then return 0 end
redis.call('XDEL', KEYS[1], ARGV[2])
redis.call('ZADD', KEYS[2], ARGV[4], ARGV[6])
redis.call('HSET', KEYS[3], ARGV[6], ARGV[3])
redis.call('SADD', KEYS[4], ARGV[5])
return 1
