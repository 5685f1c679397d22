-- What was said to an attempt while it works, for the agent to take up; and that it listens.
--
-- KEYS[1]  inbox  hash: '' if the agent listens; else the input's id to its document, with 'taken <by>' and a line end before
--                 it once it was taken
-- ARGV[1]  by     who takes: the same again gets the same again, for it may have died before it kept what it got
-- ARGV[2]  ttl    lifetime in seconds
--
-- Returns the documents, unsorted.
-- One script, because what two took would be said twice.
local inbox, mark = KEYS[1], 'taken ' .. ARGV[1] .. '\n'
redis.call('HSET', inbox, '', '1')
redis.call('EXPIRE', inbox, ARGV[2])
local found = {}
local fields = redis.call('HGETALL', inbox)
for i = 1, #fields, 2 do
  local id, value = fields[i], fields[i + 1]
  if id ~= '' then
    if string.sub(value, 1, #mark) == mark then
      found[#found + 1] = string.sub(value, #mark + 1)
    elseif string.sub(value, 1, 6) ~= 'taken ' then
      redis.call('HSET', inbox, id, mark .. value)
      found[#found + 1] = value
    end
  end
end
return found
