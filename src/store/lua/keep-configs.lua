-- Keep a configuration of an agent type's plugins, unless it is the newest one already.
--
-- KEYS[1]  configs   hash: latest -> number; v:{number} -> document; h:{hash} -> number
-- ARGV[1]  hash      of the configuration
-- ARGV[2]  document  JSON
-- ARGV[3]  keep      how many are kept
-- ARGV[4]  ttl_s     lifetime from now
--
-- Returns its number.
-- One script: two workers that start together must not give one number to two configurations.
local latest = tonumber(redis.call('HGET', KEYS[1], 'latest') or '0')
local known = tonumber(redis.call('HGET', KEYS[1], 'h:' .. ARGV[1]) or '-1')
if known ~= latest then
  latest = redis.call('HINCRBY', KEYS[1], 'latest', 1)
  redis.call('HSET', KEYS[1], 'v:' .. latest, ARGV[2], 'h:' .. ARGV[1], latest)
  -- It is kept under its new number alone.
  if known > 0 then redis.call('HDEL', KEYS[1], 'v:' .. known) end
  for _, field in ipairs(redis.call('HKEYS', KEYS[1])) do
    local number = string.sub(field, 1, 2) == 'h:' and tonumber(redis.call('HGET', KEYS[1], field))
    if number and number <= latest - tonumber(ARGV[3]) then
      redis.call('HDEL', KEYS[1], field, 'v:' .. number)
    end
  end
end
redis.call('EXPIRE', KEYS[1], ARGV[4])
return latest
