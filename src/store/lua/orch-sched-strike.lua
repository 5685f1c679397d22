-- Strike out a tick that was dealt with, and say how.
--
-- KEYS[1]  schedule  hash
-- KEYS[2]  due       sorted set of those that will fire
-- KEYS[3]  firing    sorted set of those with ticks that are being submitted, by when somebody else may take these over
-- KEYS[4]  ticks     stream: what became of its ticks
-- ARGV[1]  id
-- ARGV[2]  owner     who deals with the ticks
-- ARGV[3]  tick
-- ARGV[4]  outcome   submitted, skipped_overlap or failed
-- ARGV[5]  task_id   of what was submitted, else ''
-- ARGV[6]  reason    else ''
-- ARGV[7]  lease_ms  how long nobody else may take the rest
-- ARGV[8]  pause_after  failures in a row after which it is paused; 0 never
-- ARGV[9]  max_runs     0 for no limit
-- ARGV[10] cap          entries the stream keeps
-- ARGV[11] resets       '1': a submit ends a row of failures; '0': only the success of a task does (orch-sched-ended.lua)
--
-- Returns 'go' on with the rest; 'lost' if the ticks are somebody else's; 'gone' with the schedule; 'stop' because it was
-- paused or has ended; 'cancel' if it was paused and what runs is to be cancelled.
local held = redis.call('HMGET', KEYS[1], 'firing', 'firing_owner', 'active')
if redis.call('EXISTS', KEYS[1]) == 0 then return 'gone' end
if not held[1] or held[2] ~= ARGV[2] then return 'lost' end
local left, found = {}, false
for _, tick in ipairs(cjson.decode(held[1])) do
  if string.format('%.0f', tick) == ARGV[3] then found = true else left[#left + 1] = tick end
end
if not found then return 'lost' end

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local entry = {'at', string.format('%.0f', now), 'tick', ARGV[3], 'outcome', ARGV[4], 'trigger', 'tick'}
if ARGV[5] ~= '' then entry[#entry + 1] = 'task_id'; entry[#entry + 1] = ARGV[5] end
if ARGV[6] ~= '' then entry[#entry + 1] = 'reason'; entry[#entry + 1] = ARGV[6] end
redis.call('XADD', KEYS[4], 'MAXLEN', '~', ARGV[10], '*', unpack(entry))
redis.call('HSET', KEYS[1], 'last_outcome', ARGV[4])
redis.call('HDEL', KEYS[1], 'retry_at', 'retries', 'reverted_tick')

local ended = false
if ARGV[4] == 'submitted' then
  redis.call('HSET', KEYS[1], 'last_run_at', ARGV[3], 'last_task_id', ARGV[5])
  if ARGV[11] == '1' then redis.call('HSET', KEYS[1], 'failure_streak', 0) end
  local runs = redis.call('HINCRBY', KEYS[1], 'run_count', 1)
  if ARGV[9] ~= '0' and runs >= tonumber(ARGV[9]) then ended = 'max_runs' end
elseif ARGV[4] == 'failed' then
  local at = {id = ARGV[1], schedule = KEYS[1], due = KEYS[2], ticks = KEYS[4], cap = ARGV[10]}
  local failed = {tick = ARGV[3], task_id = '', reason = ARGV[6]}
  if count_failure(at, failed, ARGV[8]) then held[3] = '0' end
end

local is_stopped = held[3] ~= '1'
if not ended and #left == 0 and not is_stopped then ended = redis.call('HGET', KEYS[1], 'ending') end
if ended then
  redis.call('HSET', KEYS[1], 'active', '0', 'finished_reason', ended)
  redis.call('HDEL', KEYS[1], 'next_run_at', 'ending')
  redis.call('ZREM', KEYS[2], ARGV[1])
end
if #left == 0 or ended or is_stopped then
  redis.call('HDEL', KEYS[1], 'firing', 'firing_owner', 'firing_at', 'firing_doc')
  redis.call('ZREM', KEYS[3], ARGV[1])
  if is_stopped and redis.call('HGET', KEYS[1], 'cancel_running') == '1' then return 'cancel' end
  return (ended or is_stopped) and 'stop' or 'go'
end
redis.call('HSET', KEYS[1], 'firing', cjson.encode(left))
redis.call('ZADD', KEYS[3], string.format('%.0f', now + ARGV[7]), ARGV[1])
return 'go'
