-- In a Cluster: count one command of a user before it is accepted, or take that back when it was not.
--
-- KEYS[1]  limit  string: what is accepted in a window, see quota-window.lua
-- KEYS[2]  quota  string: the record routers obey
-- ARGV[1]  back   '' to count; else the end of the window in which it was counted: it is taken back
--
-- Returns {'counted', end of the window}, {'over', ms, reason} if the limit is used up for so long, {'none'} if there is
--         none, or it was another window.
-- One script, because senders that count beside each other would accept more than the limit.
local text = redis.call('GET', KEYS[1])
local window = text and window_of(text)
if not window then return {'none'} end
if ARGV[1] == '' then
  if window.used >= window.limit then return {'over', window_left(window), window.reason} end
  count_in(window, KEYS[1], KEYS[2])
  return {'counted', string.format('%.0f', window.ends_at)}
end
if string.format('%.0f', window.ends_at) ~= ARGV[1] or window.used == 0 then return {'none'} end
window.used = window.used - 1
keep_window(window, KEYS[1])
local ok, doc = pcall(cjson.decode, redis.call('GET', KEYS[2]) or '')
if ok and type(doc) == 'table' and doc.x_source == 'auto' then redis.call('DEL', KEYS[2]) end
return {'counted', ARGV[1]}
