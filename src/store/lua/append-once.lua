-- Append a document to a stream, unless this was done before, or the stream is full.
--
-- KEYS[1]  stream
-- KEYS[2]  marker    string with TTL: the entry this token became; in the slot of the stream
-- ARGV[1]  document  JSON
-- ARGV[2]  ttl_s     how long a repeat is recognised
-- ARGV[3]  limit     most entries the stream may hold, or '0'
--
-- Returns {'appended' or 'known', entry id}, or {'full'}: nothing was written.
-- In a Cluster one step can not span two entities, so steps are repeated until all are done; this makes it harmless.
local known = redis.call('GET', KEYS[2])
if known then return {'known', known} end
local limit = tonumber(ARGV[3])
if limit > 0 and redis.call('XLEN', KEYS[1]) >= limit then return {'full'} end
local entry = redis.call('XADD', KEYS[1], '*', 'data', ARGV[1])
redis.call('SET', KEYS[2], entry, 'EX', ARGV[2])
return {'appended', entry}
