-- Add a message to a session's history, and drop what is beyond its bounds.
--
-- KEYS[1]  history       hash: m:{n} a message, k:{key} its number, first and last the numbers that are there, bytes of all
--                        messages, at when the last one came
-- ARGV[1]  key           what makes the message the same as another; '' if nothing does. Holds no line feed
-- ARGV[2]  document      JSON
-- ARGV[3]  ttl_s         lifetime from now, in seconds
-- ARGV[4]  max_messages
-- ARGV[5]  max_bytes     the newest message stays, however large it is
--
-- Returns 1 if it was added, 0 if the history has one with this key.
-- A message is kept as its time in Unix milliseconds, its key and its document, a line each: what is dropped takes its key
-- along. One script, because two workers that both save a message again would both find it missing.
local history, key = KEYS[1], ARGV[1]
if key ~= '' and redis.call('HEXISTS', history, 'k:' .. key) == 1 then return 0 end

local time = redis.call('TIME')
local at = string.format('%.0f', tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000))
local last = redis.call('HINCRBY', history, 'last', 1)
local message = at .. '\n' .. key .. '\n' .. ARGV[2]
redis.call('HSET', history, 'm:' .. last, message, 'at', at)
if key ~= '' then redis.call('HSET', history, 'k:' .. key, last) end
local bytes = redis.call('HINCRBY', history, 'bytes', #message)

local first = tonumber(redis.call('HGET', history, 'first') or '1')
while first < last and (last - first + 1 > tonumber(ARGV[4]) or bytes > tonumber(ARGV[5])) do
  local old = redis.call('HGET', history, 'm:' .. first)
  if old then
    local old_key = string.match(old, '^%d+\n([^\n]*)\n')
    redis.call('HDEL', history, 'm:' .. first)
    if old_key and old_key ~= '' then redis.call('HDEL', history, 'k:' .. old_key) end
    bytes = redis.call('HINCRBY', history, 'bytes', -#old)
  end
  first = first + 1
end
redis.call('HSET', history, 'first', first)
redis.call('EXPIRE', history, ARGV[3])
return 1
