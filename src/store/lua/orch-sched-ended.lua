-- Count the end of a task at its schedule, once.
--
-- KEYS[1]  schedule  hash
-- KEYS[2]  due       sorted set of those that will fire
-- KEYS[3]  ended     sorted set of ends that are to be counted
-- KEYS[4]  ticks     stream: what became of its ticks
-- ARGV[1]  id
-- ARGV[2]  member       of the ends
-- ARGV[3]  is_ok        '1': it ends a row of failures; '0': it is one more
-- ARGV[4]  tick         the minute the task was for
-- ARGV[5]  task_id
-- ARGV[6]  reason       of a failure
-- ARGV[7]  pause_after  failures in a row after which the schedule is paused; 0 never
-- ARGV[8]  cap          entries the stream keeps
--
-- Returns 'known' if it was counted before; 'gone' with the schedule; 'counted'; 'paused'.
-- One script, because an end that was taken and not counted would be lost with who took it, and one counted twice could
-- pause what has failed once.
if redis.call('ZREM', KEYS[3], ARGV[2]) == 0 then return 'known' end
if redis.call('HEXISTS', KEYS[1], 'active') == 0 then return 'gone' end
if ARGV[3] == '1' then
  redis.call('HSET', KEYS[1], 'failure_streak', 0)
  return 'counted'
end
local at = {id = ARGV[1], schedule = KEYS[1], due = KEYS[2], ticks = KEYS[4], cap = ARGV[8]}
local failed = {tick = ARGV[4], task_id = ARGV[5], reason = ARGV[6]}
return count_failure(at, failed, ARGV[7]) and 'paused' or 'counted'
