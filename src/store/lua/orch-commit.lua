-- Write what was decided, if all of what it was decided on still holds; else nothing.
--
-- KEYS      every key that is looked at or written, each once, all of one workspace's slot
-- ARGV[1]   token   of this write; when its reply was lost and it is made again, it is found to have been made
-- ARGV[2]   checks  how many; each is the number of its words and then those: kind, place of its key in KEYS, and
--                     field NAME VALUE  the field of the hash is this; '' also where there is none
--                     absent            there is no such key
--                     value TEXT        the string is this; '' also where there is none
--                     room LIMIT        the sorted set has fewer members
--                     head MEMBERS      its first two members, joined by a comma
-- then      writes  how many; each as above: a Redis command, place of its key in KEYS, its other arguments. One of ours:
--                     APPEND hash's place, counter, cap, document
--                       the stream gets the document under the next number of the counter, a field of the hash
--
-- Returns {'done'}, or {'changed', which check} when nothing was written. The first key is the hash that keeps the token.
--
-- One script, because two that saw the same state may both decide to act on it; the second must learn that it has gone.
-- The decisions are made outside, by pure functions: here is only what makes them take effect at once or not at all.
local at = 2

local function word()
  at = at + 1
  return ARGV[at - 1]
end

local function words()
  local list = {}
  for i = 1, tonumber(word()) do list[i] = word() end
  return list
end

if redis.call('HGET', KEYS[1], 'commit') == ARGV[1] then return {'done'} end

local function holds(check)
  local kind, key = check[1], KEYS[tonumber(check[2])]
  if kind == 'field' then return (redis.call('HGET', key, check[3]) or '') == check[4] end
  if kind == 'value' then return (redis.call('GET', key) or '') == check[3] end
  if kind == 'absent' then return redis.call('EXISTS', key) == 0 end
  if kind == 'room' then return redis.call('ZCARD', key) < tonumber(check[3]) end
  return table.concat(redis.call('ZRANGE', key, 0, 1), ',') == check[3]
end

for i = 1, tonumber(word()) do
  if not holds(words()) then return {'changed', tostring(i)} end
end

for _ = 1, tonumber(word()) do
  local write = words()
  local command, key = write[1], KEYS[tonumber(write[2])]
  if command == 'APPEND' then
    local number = redis.call('HINCRBY', KEYS[tonumber(write[3])], write[4], 1)
    redis.call('XADD', key, 'MAXLEN', '~', write[5], number .. '-0', 'doc', write[6])
  else
    redis.call(command, key, unpack(write, 3))
  end
end
if redis.call('EXISTS', KEYS[1]) == 1 then redis.call('HSET', KEYS[1], 'commit', ARGV[1]) end
return {'done'}
