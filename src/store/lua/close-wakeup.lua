-- Make way for the next wakeup, if everybody who waits for this one was told.
--
-- KEYS[1]  dedupe   string: the execution whose request was carried out
-- KEYS[2]  waiters  hash: execution id -> until when it waits
-- ARGV[1]  execution_id  whose request was carried out
-- ARGV[2+] told     execution ids
--
-- Returns 1, or 0 if somebody joined meanwhile: tell them too.
-- One script, because a waiter that joins between the look and the end would wait for nothing.
for i = 2, #ARGV do redis.call('HDEL', KEYS[2], ARGV[i]) end
if redis.call('HLEN', KEYS[2]) > 0 then return 0 end
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 1
