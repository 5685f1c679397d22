-- Note a task a person started for a schedule out of its turn.
--
-- KEYS[1]  schedule  hash
-- KEYS[2]  ticks     stream: what became of its ticks
-- ARGV[1]  tick
-- ARGV[2]  task_id
-- ARGV[3]  trigger   run_now or backfill
-- ARGV[4]  cap       entries the stream keeps
--
-- Returns 1, or 0 if the schedule is gone.
if redis.call('EXISTS', KEYS[1]) == 0 then return 0 end
local time = redis.call('TIME')
local now = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000))
redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[4], '*', 'at', now, 'tick', ARGV[1], 'outcome', 'submitted',
  'task_id', ARGV[2], 'trigger', ARGV[3])
redis.call('HSET', KEYS[1], 'last_task_id', ARGV[2], 'last_outcome', 'submitted')
return 1
