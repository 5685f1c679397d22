-- Put before the scripts that count the failures of a schedule.

-- Count one more. Too many in a row pause the schedule, and one of its ticks says why.
--
-- @param at           {id, schedule, due, ticks, cap}: the schedule, its keys, and how many entries the stream keeps
-- @param failed       {tick, task_id, reason}: '' for a task that was not submitted
-- @param pause_after  so many in a row; '0' never
-- @return whether it was paused
local function count_failure(at, failed, pause_after)
  local streak = redis.call('HINCRBY', at.schedule, 'failure_streak', 1)
  local is_active = redis.call('HGET', at.schedule, 'active') == '1'
  if not is_active or pause_after == '0' or streak < tonumber(pause_after) then return false end
  local time = redis.call('TIME')
  local now = time[1] * 1000 + math.floor(time[2] / 1000)
  local note = 'failed ' .. streak .. ' times in a row: ' .. failed.reason
  redis.call('HSET', at.schedule, 'active', '0', 'pause_note', note)
  redis.call('HDEL', at.schedule, 'next_run_at', 'ending')
  redis.call('ZREM', at.due, at.id)
  redis.call('HINCRBY', at.schedule, 'version', 1)
  local entry = {'at', string.format('%.0f', now), 'tick', failed.tick, 'outcome', 'paused', 'reason', note}
  if failed.task_id ~= '' then entry[#entry + 1] = 'task_id'; entry[#entry + 1] = failed.task_id end
  redis.call('XADD', at.ticks, 'MAXLEN', '~', at.cap, '*', unpack(entry))
  return true
end
