-- Answer a reload of plugins.
--
-- KEYS[1]  acks      stream
-- ARGV[1]  document  JSON
-- ARGV[2]  ttl_s     lifetime of the stream from now
--
-- One script, so that no stream is left without a lifetime.
redis.call('XADD', KEYS[1], 'MAXLEN', '~', 10000, '*', 'data', ARGV[1])
return redis.call('EXPIRE', KEYS[1], ARGV[2])
