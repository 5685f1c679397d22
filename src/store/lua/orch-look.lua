-- Look at a task, its run and an attempt of it, and at all that a decision about them rests on, at one moment.
--
-- KEYS[1]  base  what the keys of the workspace begin with; all of them are in its slot, so their names are made here
-- ARGV[1]  kind  'task': its current run and that one's current attempt; 'run': of that run; 'att': that attempt; 'new':
--                there is no task yet, only a session and a pool
-- ARGV[2]  id    of that; of a new one, the session
-- ARGV[3]  pool  of a new one; else ''
--
-- Returns {now in ms, task, run, attempt, pool, attempts of the pool under way, first run that wants the session, second,
--          the second's attempt, its place, its pool, its score among the ready, attempt that has the session, fence,
--          until when the session's lease was renewed, inputs of the run ...}; '' for what is not there.
--
-- One script, because what is read one after another may never have been true together.
local base, kind, id = KEYS[1], ARGV[1], ARGV[2]
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

local function field(key, name) return redis.call('HGET', base .. key, name) or '' end

local task, run, attempt = '', '', ''
if kind == 'att' then
  attempt, task, run = id, field('att:' .. id, 'task'), field('att:' .. id, 'run')
elseif kind == 'run' then
  run, task, attempt = id, field('run:' .. id, 'task'), field('run:' .. id, 'att')
elseif kind == 'task' then
  task, run = id, field('task:' .. id, 'run')
  if run ~= '' then attempt = field('run:' .. run, 'att') end
end

local session, pool = id, ARGV[3]
if kind ~= 'new' then session, pool = field('task:' .. task, 'session'), field('run:' .. run, 'pool') end
local heads = redis.call('ZRANGE', base .. 'sess:queue:' .. session, 0, 1)
local first, second = heads[1] or '', heads[2] or ''
local waiting = second ~= '' and field('run:' .. second, 'att') or ''
local has = redis.call('HMGET', base .. 'lease:' .. session, 'attempt_id', 'fence', 'expires_at')

local answer = {
  tostring(now), field('task:' .. task, 'doc'), field('run:' .. run, 'doc'), field('att:' .. attempt, 'doc'),
  field('inst:' .. pool, 'doc'), tostring(redis.call('ZCARD', base .. 'inflight:' .. pool)), first, second,
  waiting, field('att:' .. waiting, 'place'), second ~= '' and field('run:' .. second, 'pool') or '',
  field('att:' .. waiting, 'score'), has[1] or '', has[2] or '',
  has[3] or '',
}
for _, input in ipairs(redis.call('HVALS', base .. 'inputs:' .. run)) do answer[#answer + 1] = input end
return answer
