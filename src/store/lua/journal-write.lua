-- Write into the journal of a durable execution, if the attempt still owns it.
--
-- KEYS[1]  registry  hash of the session
-- KEYS[2]  journal   hash of the execution
-- ARGV[1]  execution_id
-- ARGV[2]  fence        '{attempt}@{owner}', unique to the attempt
-- ARGV[3]  ttl_s        lifetime of the journal
-- ARGV[4]  max_entries  entries a journal may hold
-- ARGV[5]  max_bytes    bytes of all of them and their outcomes
-- ARGV[6+] what to write, three arguments each: kind, index, text
--            'entry'    JSON of what the code asked for; kept as it was if it is there
--            'timed'    the same without its closing brace and its due_at, then a line break and milliseconds from now
--            'outcome'  JSON of what came of it; the first one stays
--            'tries'    JSON of the failed tries of a step
--            'ask'      JSON of the command that began the run; the first one stays
--            'reset'    Unix ms at which a person continued the ended execution: a journal of its own begins then
--
-- Returns {'ok', Unix ms, order of each outcome that is new or '' ...}; {'fenced'}, {'entries'} or {'bytes'} if nothing was
-- written: another attempt owns the execution, or there is no room.
-- One script, because a check before the write would let a worker that was paused in between write after its successor.
local journal = KEYS[2]
local record = redis.call('HGET', KEYS[1], 'exec:' .. ARGV[1])
if not record or not string.find(record, '"' .. ARGV[2] .. '"', 1, true) then return {'fenced'} end
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

local bytes = tonumber(redis.call('HGET', journal, 'bytes') or '0')
for i = 6, #ARGV, 3 do
  if ARGV[i] == 'entry' or ARGV[i] == 'timed' or ARGV[i] == 'outcome' then bytes = bytes + #ARGV[i + 2] end
  if ARGV[i] ~= 'outcome' and tonumber(ARGV[i + 1]) >= tonumber(ARGV[4]) then return {'entries'} end
end
if bytes > tonumber(ARGV[5]) then return {'bytes'} end

local function whole(n) return string.format('%.0f', n) end
local answer = {'ok', whole(now)}
for i = 6, #ARGV, 3 do
  local kind, index, text = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  if kind == 'entry' then
    redis.call('HSETNX', journal, 'e:' .. index, text)
  elseif kind == 'timed' then
    local open, ms = string.match(text, '^(.*)\n(%d+)$')
    redis.call('HSETNX', journal, 'e:' .. index, open .. ',"due_at":' .. whole(now + tonumber(ms)) .. '}')
  elseif kind == 'ask' then
    redis.call('HSETNX', journal, 'ask', text)
  elseif kind == 'reset' then
    local since = tonumber(redis.call('HGET', journal, 'since') or '0')
    if tonumber(text) > since then
      local run = tonumber(redis.call('HGET', journal, 'run') or '0') + 1
      redis.call('DEL', journal)
      redis.call('HSET', journal, 'run', run, 'since', text)
      bytes = 0
    end
  elseif kind == 'tries' then
    redis.call('HSET', journal, 't:' .. index, text)
  elseif redis.call('HEXISTS', journal, 'd:' .. index) == 1 then
    answer[#answer + 1] = ''
  else
    local order = redis.call('HINCRBY', journal, 'n', 1)
    redis.call('HSET', journal, 'd:' .. index, '{"order":' .. order .. ',"at":' .. whole(now) .. ',"value":' .. text .. '}')
    redis.call('HDEL', journal, 't:' .. index)
    answer[#answer + 1] = tostring(order)
  end
end
redis.call('HSET', journal, 'bytes', whole(bytes))
redis.call('EXPIRE', journal, ARGV[3])
return answer
