-- End a turn of a durable execution that waits for answers, unless there are some it has not seen.
--
-- KEYS[1]  registry  hash of the session
-- KEYS[2]  journal   hash of the execution
-- KEYS[3]  source    control stream the command came from; unused when the entry is settled later
-- KEYS[4]  timers    sorted set; unused when the execution is kept already
-- ARGV[1]  execution_id
-- ARGV[2]  fence      '{attempt}@{owner}' of this attempt
-- ARGV[3]  patch      JSON object, merged into the record; its status is appended to the timeline
-- ARGV[4]  terminal   JSON array of the states that end an execution
-- ARGV[5]  seen       outcomes the code was given
-- ARGV[6]  end        JSON without its closing brace: where the code has got to
-- ARGV[7]  ttl_s      lifetime of registry and journal
-- ARGV[8]  group      consumer group of the source
-- ARGV[9]  entry      id of the entry to acknowledge here, or ''
-- ARGV[10] delete     '1': no other group reads the source
-- ARGV[11] keep       member of the timers that keeps the execution while it waits, or ''
-- ARGV[12] keep_at    when that is due, in Unix milliseconds
--
-- Returns 'ok'. Nothing was written after 'more': there are outcomes the code has not seen; 'terminal', 'fenced' and
-- 'cancelling' as finish.lua says.
-- One script, because an answer that came between the look and the write would wait for ever.
local registry, journal = KEYS[1], KEYS[2]
local text = redis.call('HGET', registry, 'exec:' .. ARGV[1])
if not text then return 'fenced' end
local after, refusal = end_turn(text, ARGV[2], decode(ARGV[3]), ARGV[4])
if not after then return refusal end
if tonumber(redis.call('HGET', journal, 'n') or '0') > tonumber(ARGV[5]) then return 'more' end
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
redis.call('HSET', registry, 'exec:' .. ARGV[1], after)
redis.call('HSET', journal, 'seen', ARGV[5], 'end', ARGV[6] .. ',"at":' .. string.format('%.0f', now) .. '}')
redis.call('EXPIRE', registry, ARGV[7])
redis.call('EXPIRE', journal, ARGV[7])
if ARGV[11] ~= '' then redis.call('ZADD', KEYS[4], 'NX', ARGV[12], ARGV[11]) end
if ARGV[9] ~= '' then
  redis.call('XACK', KEYS[3], ARGV[8], ARGV[9])
  if ARGV[10] == '1' then redis.call('XDEL', KEYS[3], ARGV[9]) end
end
return 'ok'
