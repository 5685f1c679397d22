-- Renew a session's lease for the attempt that has it, and say whether another attempt has taken its place.
--
-- KEYS[1]  lease       hash: attempt_id, owner and expires_at while an attempt has the session; fence, which is never lowered
-- ARGV[1]  attempt_id  who asks
-- ARGV[2]  fence       it was given
-- ARGV[3]  owner       who runs it, as worker:execution
-- ARGV[4]  ttl_ms      so long nobody need look whether it is still at work
--
-- Returns {'held'}
--         {'superseded', fence}: an attempt with this higher fence was given the session; nothing was written
--         {'free'}: nobody has it, or an attempt that came before; nothing was written
--
-- One script, because a renewal that was decided on an older state would hold the session for one that has lost it.
local lease, attempt = KEYS[1], ARGV[1]
local has = redis.call('HMGET', lease, 'attempt_id', 'fence')
if (tonumber(has[2] or '') or 0) > tonumber(ARGV[2]) then return {'superseded', has[2]} end
if has[1] ~= attempt then return {'free'} end
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
redis.call('HSET', lease, 'owner', ARGV[3], 'expires_at', string.format('%.0f', now + tonumber(ARGV[4])))
return {'held'}
