-- A wakeup request joins the wakeup of its agent type, or starts it.
--
-- KEYS[1]  dedupe   string with TTL: the execution whose request is being carried out
-- KEYS[2]  waiters  hash: execution id -> when it began to wait
-- ARGV[1]  execution_id
-- ARGV[2]  now_ms
-- ARGV[3]  dedupe_ttl_s
-- ARGV[4]  waiters_ttl_s
--
-- Returns 'lead' if the caller must carry out the wakeup, 'join' if somebody already does.
-- One script, because a waiter that joins just after the answer was given would wait for nothing.
redis.call('HSET', KEYS[2], ARGV[1], ARGV[2])
redis.call('EXPIRE', KEYS[2], ARGV[4])
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'EX', ARGV[3]) then return 'lead' end
if redis.call('GET', KEYS[1]) == ARGV[1] then return 'lead' end
return 'join'
