-- Put before the scripts that count what a user sends.
-- A limit is {limit, window_ms, reason, used, ends_at}: so many commands in a window, which begins with the first command
-- after the last window, by this server's clock.

-- The window a command would be counted in now; nil for a limit that nobody can read.
local function window_of(text)
  local ok, doc = pcall(cjson.decode, text)
  if not ok or type(doc) ~= 'table' or type(doc.limit) ~= 'number' or type(doc.window_ms) ~= 'number' then
    return nil
  end
  local time = redis.call('TIME')
  local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
  local ends_at = tonumber(doc.ends_at) or 0
  -- One that ends later than a window from now was begun before the clock was set back: it would lock the user out.
  local is_over = ends_at <= now or ends_at > now + doc.window_ms
  return {
    now = now,
    limit = doc.limit,
    window_ms = doc.window_ms,
    reason = type(doc.reason) == 'string' and doc.reason or '',
    used = is_over and 0 or tonumber(doc.used) or 0,
    ends_at = is_over and now + doc.window_ms or ends_at,
  }
end

local function window_left(window) return string.format('%.0f', window.ends_at - window.now) end

-- Keeps the lifetime that the limit may have.
local function keep_window(window, limit_key)
  redis.call('SET', limit_key, cjson.encode({
    limit = window.limit, window_ms = window.window_ms, reason = window.reason,
    used = window.used, ends_at = window.ends_at,
  }), 'KEEPTTL')
end

-- Count one. The last one writes the record that every SDK's router obeys, for the rest of the window; what an operator
-- wrote to turn the user away stays.
local function count_in(window, limit_key, quota_key)
  window.used = window.used + 1
  keep_window(window, limit_key)
  if window.used < window.limit then return end
  local there = redis.call('GET', quota_key)
  if there then
    local ok, doc = pcall(cjson.decode, there)
    if not ok or type(doc) ~= 'table' or (doc.available == false and doc.x_source ~= 'auto') then return end
  end
  local record = cjson.encode({available = false, reason = window.reason, x_source = 'auto'})
  redis.call('SET', quota_key, record, 'PX', window_left(window))
end
