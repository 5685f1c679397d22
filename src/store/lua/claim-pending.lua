-- Take pending entries from one consumer, oldest first.
--
-- KEYS[1]  stream
-- ARGV[1]  group
-- ARGV[2]  from      consumer that has them; may be the same as the next, to read them again
-- ARGV[3]  to        consumer that gets them
-- ARGV[4]  min_idle  milliseconds since an entry was delivered; a younger one stays
-- ARGV[5]  count     most entries to take
--
-- Returns the entries, {id, fields} each. An entry that was deleted is not pending any more afterwards.
-- One script, because between a look at the pending entries and the claim another worker may have taken them, or a
-- consumer that came back may have been given new ones.
local ids = {}
for _, row in ipairs(redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', ARGV[5], ARGV[2])) do
  ids[#ids + 1] = row[1]
end
if #ids == 0 then return {} end
return redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[3], ARGV[4], unpack(ids))
