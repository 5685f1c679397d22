-- Count how executions of an agent type ended, and open its circuit when too many failed; close it after a good end.
--
-- KEYS[1]  circuit  string: the record routers obey
-- KEYS[2]  ends     hash: '{slice}:ok' and '{slice}:failed' -> how many; a slice is a tenth of the window
-- KEYS[3]  probe    prefix of a key that is there once a command was let through an open circuit; its suffix is the
--                   opening
-- ARGV[1]  ok         how many ended well since the last call of this worker
-- ARGV[2]  failed
-- ARGV[3]  rate       the share of failures, above 0 and up to 1, at which it opens
-- ARGV[4]  min        fewer ends than this in the window open nothing
-- ARGV[5]  window_ms
-- ARGV[6]  open_ms    after so long one command may try whether it works again
--
-- Returns {'opened', failed, total} with what was counted in the window, or for a probe {'opened', failed, ''};
--         {'closed'}; {'counted'}; {'kept'}: the circuit is somebody else's, or open and no probe is under way: what ends
--         then was accepted before, and says nothing new.
-- One script, because workers that count beside each other would all open it, or none.
local SLICES = 10
local ok, failed = tonumber(ARGV[1]), tonumber(ARGV[2])
local window_ms, open_ms = tonumber(ARGV[5]), tonumber(ARGV[6])
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)

-- It goes by itself: a probe that nobody sends, or that never ends, must not keep everybody out.
local function open(reason)
  redis.call('SET', KEYS[1], cjson.encode({
    state = 'OPEN', reason = reason, x_source = 'auto', x_opening = string.format('%.0f-%s', now, time[2]),
    x_half_open_ms = open_ms,
  }), 'PX', string.format('%.0f', 2 * open_ms))
  redis.call('DEL', KEYS[2])
end

local record = redis.call('GET', KEYS[1])
if record then
  local readable, doc = pcall(cjson.decode, record)
  local opening = readable and type(doc) == 'table' and doc.x_source == 'auto' and doc.x_opening
  if type(opening) ~= 'string' or redis.call('EXISTS', KEYS[3] .. opening) == 0 then return {'kept'} end
  if failed > 0 then
    open('it was tried again, and failed')
    return {'opened', failed, ''}
  end
  redis.call('DEL', KEYS[1])
  return {'closed'}
end

local slice = math.floor(now * SLICES / window_ms)
if ok > 0 then redis.call('HINCRBY', KEYS[2], slice .. ':ok', ok) end
if failed > 0 then redis.call('HINCRBY', KEYS[2], slice .. ':failed', failed) end
redis.call('PEXPIRE', KEYS[2], ARGV[5])
local total, bad = 0, 0
local counts = redis.call('HGETALL', KEYS[2])
for i = 1, #counts, 2 do
  local at, kind = string.match(counts[i], '^(%d+):(%a+)$')
  at = tonumber(at)
  if at and at > slice - SLICES and at <= slice then
    total = total + tonumber(counts[i + 1])
    if kind == 'failed' then bad = bad + tonumber(counts[i + 1]) end
  else
    redis.call('HDEL', KEYS[2], counts[i])
  end
end
if failed == 0 or total < tonumber(ARGV[4]) or bad < tonumber(ARGV[3]) * total then return {'counted'} end
open(bad .. ' of ' .. total .. ' executions failed')
return {'opened', bad, total}
