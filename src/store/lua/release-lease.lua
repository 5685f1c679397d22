-- Give a worker id back.
--
-- KEYS[1]  lease  string with TTL: the presence document
-- ARGV[1]  token  who asks
--
-- Returns 1 if the lease was ours and is gone, 0 otherwise.
-- One script, because between a GET and a DEL the id may have passed to another process.
local lease = redis.call('GET', KEYS[1])
if not lease then return 0 end
local ok, doc = pcall(cjson.decode, lease)
if not ok or type(doc) ~= 'table' or doc.token ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1])
return 1
