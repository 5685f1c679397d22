-- Keep an answer that a durable execution waits for: of an agent it called, of a person, of a timer.
--
-- KEYS[1]  registry  hash of the session
-- KEYS[2]  journal   hash of the execution
-- ARGV[1]  execution_id
-- ARGV[2]  message_id  of the question: '…-{index}', as its entry in the journal has it
-- ARGV[3]  answer      JSON
-- ARGV[4]  terminal    JSON array of the states that end an execution
--
-- Returns one of
--   'begin'     it is kept, and nobody runs the execution: a turn has to begin. Also for the same answer again, as long as
--               no turn has seen it
--   'kept'      it is kept; the turn that runs finds it before it waits
--   'answered'  there was an answer before, and a turn has seen that
--   'unknown'   nothing like that was asked
--   'early'     the same, but a turn runs that may be about to ask
--   'terminal'  the execution has ended
--   'missing'   no such execution
-- One script, because the turn must not begin to wait between the look and the write. Who runs a turn holds an entry
-- that is delivered again if he dies, so a kept answer is never forgotten.
local text = redis.call('HGET', KEYS[1], 'exec:' .. ARGV[1])
local ok, record = pcall(cjson.decode, text or '')
if not text or not ok or type(record) ~= 'table' then return 'missing' end
for _, state in ipairs(cjson.decode(ARGV[4])) do
  if record.status == state then return 'terminal' end
end
local journal = KEYS[2]
local index = string.match(ARGV[2], '%-(%d+)$')
local entry = index and redis.call('HGET', journal, 'e:' .. index)
local is_running = type(record.x_owner) == 'string' and record.x_owner ~= ''
if not entry or not string.find(entry, '"message_id":"' .. ARGV[2] .. '"', 1, true) then
  return is_running and 'early' or 'unknown'
end
local known = redis.call('HGET', journal, 'd:' .. index)
if known then
  local order = tonumber(string.match(known, '^{"order":(%d+)')) or 0
  if is_running or order <= (tonumber(redis.call('HGET', journal, 'seen') or '0')) then return 'answered' end
  return 'begin'
end
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local order = redis.call('HINCRBY', journal, 'n', 1)
redis.call('HSET', journal, 'd:' .. index,
  '{"order":' .. order .. ',"at":' .. string.format('%.0f', now) .. ',"value":' .. ARGV[3] .. '}')
redis.call('HINCRBY', journal, 'bytes', #ARGV[3])
return is_running and 'kept' or 'begin'
