-- Give the decision on a wakeup to everybody who waits for it, and make way for the next wakeup.
--
-- KEYS[1]  dedupe    string: the execution whose request was carried out
-- KEYS[2]  waiters   hash: execution id -> until when it waits
-- ARGV[1]  execution_id  whose request was carried out
-- ARGV[2]  decision  JSON with the text @execution_id@ where each waiter's own id goes
-- ARGV[3]  prefix    result stream = prefix .. execution id .. suffix
-- ARGV[4]  suffix
-- ARGV[5]  ttl_s     lifetime of the result streams
-- ARGV[6]  final     '1': the wakeup is over; '0': progress only
--
-- Who was taken for dead and replaced tells nobody but the one it asked for: the others wait for what its successor says.
--
-- Returns how many were told. Result streams are named by the waiters, so they can not be declared as keys.
local leader = redis.call('GET', KEYS[1])
local leads = not leader or leader == ARGV[1]
local waiters = leads and redis.call('HKEYS', KEYS[2]) or {}
local own = false
for _, id in ipairs(waiters) do own = own or id == ARGV[1] end
if not own then waiters[#waiters + 1] = ARGV[1] end
for _, id in ipairs(waiters) do
  local stream = ARGV[3] .. id .. ARGV[4]
  local quoted = string.gsub(cjson.encode(id), '%%', '%%%%')
  redis.call('XADD', stream, '*', 'data', (string.gsub(ARGV[2], '"@execution_id@"', quoted)))
  redis.call('EXPIRE', stream, ARGV[5])
end
if ARGV[6] == '1' then
  redis.call('HDEL', KEYS[2], ARGV[1])
  if leads then redis.call('DEL', KEYS[1], KEYS[2]) end
end
return #waiters
