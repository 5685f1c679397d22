-- End a turn: the record's new state, the last events and the reply to the caller, or nothing.
--
-- KEYS[1]  registry  hash of the session
-- KEYS[2]  events    data stream of the session
-- KEYS[3]  source    control stream the command came from; unused when the entry is settled later
-- KEYS[4]  reply     control stream of the caller; unused when there is no reply
-- KEYS[5]  deadletter  stream; unused when there is no dead letter
-- ARGV[1]  execution_id
-- ARGV[2]  fence      '{attempt}@{owner}' of this attempt
-- ARGV[3]  patch      JSON object, merged into the record; its status is appended to the timeline
-- ARGV[4]  ttl_s      new lifetime of the data stream, or '0' to leave it
-- ARGV[5]  group      consumer group of the source
-- ARGV[6]  entry      id of the entry to acknowledge here, or '' to leave that to the caller: an execution in a
--                     terminal state may be delivered again without harm, one that waits may not
-- ARGV[7]  delete     '1': no other group reads the source, so the settled entry is deleted
-- ARGV[8]  reply      JSON of the RESUME to the caller, or ''
-- ARGV[9]  terminal   JSON array of the states that end an execution
-- ARGV[10] deadletter JSON of the dead letter this execution becomes, or ''
-- ARGV[11] registry_ttl_s  new lifetime of the registry, or '0' to leave it
-- ARGV[12+] events    JSON, in order
--
-- Returns 'ok'; 'terminal' if the execution has ended already; 'fenced' if another attempt owns it; 'cancelling' if the
-- turn would wait though somebody has cancelled it: end it as CANCELLED. In all but the first nothing was written.
-- One script, because each of these without the others is a promise broken: a final answer without its state, a
-- state without its reply, a failure without its dead letter.
local registry = KEYS[1]
local EMPTY = '[-1e+308]'
local function decode(text) return cjson.decode((string.gsub(text, '%[%]', EMPTY))) end
local function encode(doc) return (string.gsub(cjson.encode(doc), '%[%-1e%+308%]', '[]')) end

local text = redis.call('HGET', registry, 'exec:' .. ARGV[1])
if not text then return 'fenced' end
local record = decode(text)
local patch, ends = decode(ARGV[3]), false
for _, state in ipairs(cjson.decode(ARGV[9])) do
  if record.status == state then return 'terminal' end
  if patch.status == state then ends = true end
end
if record.x_fence ~= ARGV[2] then return 'fenced' end
if record.status == 'CANCELLING' and not ends then return 'cancelling' end

for field, value in pairs(patch) do record[field] = value end
if type(record.timeline) ~= 'table' then record.timeline = {} end
record.timeline[#record.timeline + 1] = {status = patch.status, timestamp = patch.updated_at}
-- The turn is over: nothing more may be written under its fence.
record.x_fence = ''
record.x_owner = ''
-- Delivered again, this entry is known to be done, also while the execution waits.
record.x_ended = record.x_entry
redis.call('HSET', registry, 'exec:' .. ARGV[1], encode(record))
for i = 12, #ARGV do redis.call('XADD', KEYS[2], '*', 'data', ARGV[i]) end
if ARGV[4] ~= '0' and #ARGV >= 12 then redis.call('EXPIRE', KEYS[2], ARGV[4]) end
if ARGV[11] ~= '0' then redis.call('EXPIRE', registry, ARGV[11]) end
if ARGV[8] ~= '' then redis.call('XADD', KEYS[4], '*', 'data', ARGV[8]) end
if ARGV[10] ~= '' then redis.call('XADD', KEYS[5], '*', 'data', ARGV[10]) end
if ARGV[6] ~= '' then
  redis.call('XACK', KEYS[3], ARGV[5], ARGV[6])
  if ARGV[7] == '1' then redis.call('XDEL', KEYS[3], ARGV[6]) end
end
return 'ok'
