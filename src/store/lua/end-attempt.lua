-- End an attempt but not the execution: it failed and is tried again, or a stopping worker hands it back.
--
-- KEYS[1]  registry  hash of the session
-- KEYS[2]  events    data stream of the session
-- ARGV[1]  execution_id
-- ARGV[2]  fence     '{attempt}@{owner}' of this attempt
-- ARGV[3]  ended     'failed' counts against the execution, 'handed_back' does not
-- ARGV[4]  worker_id
-- ARGV[5]  error     why, for people
-- ARGV[6]  now_ms    for the record's timestamps, which are information only
-- ARGV[7]  retry_at  about when it is tried again, information only; '0' if as soon as somebody takes it
-- ARGV[8]  terminal  JSON array of the states that end an execution
-- ARGV[9]  cap       attempts the record remembers
-- ARGV[10] ttl_s     lifetime of the data stream when events are written
-- ARGV[11] unsure    of how many of the events, from the first, nobody knows whether they were written
-- ARGV[12+] events   JSON, in order: what the attempt had said and nobody had written yet
--
-- Returns 'ok', also to a repeat after a lost answer; 'terminal' if the execution has ended; 'fenced' if another attempt
-- owns it: then nothing was written.
-- One script, because an attempt that is noted but keeps its fence could still write, and one that loses its fence
-- without a note would count as a crash.

local text = redis.call('HGET', KEYS[1], 'exec:' .. ARGV[1])
if not text then return 'fenced' end
local record = decode(text)
for _, state in ipairs(cjson.decode(ARGV[8])) do
  if record.status == state then return 'terminal' end
end
local now = tonumber(ARGV[6])
if record.x_fence ~= ARGV[2] then
  local last = type(record.x_attempts) == 'table' and record.x_attempts[#record.x_attempts] or {}
  local is_repeat = record.x_owner == '' and last.worker_id == ARGV[4] and last.ended == ARGV[3] and last.at == now
    and tostring(last.attempt) == string.match(ARGV[2], '^%d+')
  return is_repeat and 'ok' or 'fenced'
end

if ARGV[3] == 'failed' then record.x_failures = (tonumber(record.x_failures) or 0) + 1 end
if type(record.x_attempts) ~= 'table' then record.x_attempts = {} end
record.x_attempts[#record.x_attempts + 1] = {
  attempt = record.x_attempt, worker_id = ARGV[4], ended = ARGV[3], error = ARGV[5], at = now,
}
while #record.x_attempts > tonumber(ARGV[9]) do table.remove(record.x_attempts, 1) end
record.x_retry_at = tonumber(ARGV[7])
record.x_fence = ''
record.x_owner = ''
record.updated_at = now
-- A cancel that came meanwhile stands: whoever takes the execution next ends it.
if record.status ~= 'CANCELLING' then
  record.status = 'QUEUED'
  if type(record.timeline) ~= 'table' then record.timeline = {} end
  record.timeline[#record.timeline + 1] = {status = 'QUEUED', timestamp = now}
end
redis.call('HSET', KEYS[1], 'exec:' .. ARGV[1], encode(record))
append_rest(KEYS[2], ARGV, 12, tonumber(ARGV[11]))
if #ARGV >= 12 then redis.call('EXPIRE', KEYS[2], ARGV[10]) end
return 'ok'
