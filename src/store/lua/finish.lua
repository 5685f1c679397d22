-- End a turn: the record's new state, the last events and the reply to the caller, or nothing.
--
-- KEYS[1]  registry  hash of the session
-- KEYS[2]  events    data stream of the session
-- KEYS[3]  source    control stream the command came from; unused when the entry is settled later
-- KEYS[4]  reply     control stream of the caller; unused when there is no reply
-- KEYS[5]  deadletter  stream; unused when there is no dead letter
-- KEYS[6]  outbox    stream of the session, where the dead letter waits when there is no room for it
-- KEYS[7]  snapshot  string, so that other SDKs may go on with what waits; unused when there is none
-- KEYS[8]  journal   of the caller; unused when there is no turn of it to tell
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
-- ARGV[12] letter_limit  most dead letters, or '0'
-- ARGV[13] held_letter   what the outbox gets in place of the dead letter
-- ARGV[14] snapshot   what is kept there if nothing is yet; 'forget': it goes; '': nothing
-- ARGV[15] snapshot_ttl_s
-- ARGV[16] unsure     of how many of the events, from the first, nobody knows whether they were written
-- ARGV[17] caller     execution of the caller, a turn of which runs beside this one; '': the reply is sent
-- ARGV[18] caller_fence  of that turn: while it runs it looks before it waits, and need not be sent the reply
-- ARGV[19] question   message id of the call in its journal
-- ARGV[20] answer     JSON, as the journal keeps it
-- ARGV[21+] events    JSON, in order
--
-- Returns 'ok'; {'kept', index, order, Unix ms} if the caller's journal got the answer and nothing was sent; 'held' if all was written, but the dead letter waits in the outbox and the entry must stay pending.
-- Nothing was written after 'terminal': the execution has ended already; 'fenced': another attempt owns it;
-- 'cancelling': the turn would wait though somebody has cancelled it, so end it as CANCELLED.
-- One script, because each of these without the others is a promise broken: a final answer without its state, a
-- state without its reply, a failure without its dead letter.
local registry = KEYS[1]

local text = redis.call('HGET', registry, 'exec:' .. ARGV[1])
if not text then return 'fenced' end
local after, refusal = end_as_text(text, ARGV[2], ARGV[3]), nil
if not after then after, refusal = end_turn(text, ARGV[2], decode(ARGV[3]), ARGV[9]) end
if not after then return refusal end
redis.call('HSET', registry, 'exec:' .. ARGV[1], after)
append_rest(KEYS[2], ARGV, 21, tonumber(ARGV[16]))
if ARGV[4] ~= '0' and #ARGV >= 21 then redis.call('EXPIRE', KEYS[2], ARGV[4]) end
if ARGV[11] ~= '0' then redis.call('EXPIRE', registry, ARGV[11]) end
if ARGV[14] == 'forget' then
  redis.call('DEL', KEYS[7])
elseif ARGV[14] ~= '' then
  redis.call('SET', KEYS[7], ARGV[14], 'EX', ARGV[15], 'NX')
end
local kept
if ARGV[17] ~= '' then
  local caller = redis.call('HGET', registry, 'exec:' .. ARGV[17])
  if caller and string.find(caller, '"' .. ARGV[18] .. '"', 1, true) then
    local verdict, index, order, at = keep_answer(KEYS[8], true, ARGV[19], ARGV[20])
    if verdict == 'kept' then kept = {'kept', index, tostring(order), at} end
  end
end
if ARGV[8] ~= '' and not kept then redis.call('XADD', KEYS[4], '*', 'data', ARGV[8]) end
if ARGV[10] ~= '' then
  local limit = tonumber(ARGV[12])
  if limit > 0 and redis.call('XLEN', KEYS[5]) >= limit then
    redis.call('XADD', KEYS[6], '*', 'data', ARGV[13])
    -- It may have had a lifetime, and now holds what must not be lost.
    redis.call('PERSIST', KEYS[6])
    return 'held'
  end
  redis.call('XADD', KEYS[5], '*', 'data', ARGV[10])
end
if ARGV[6] ~= '' then
  redis.call('XACK', KEYS[3], ARGV[5], ARGV[6])
  if ARGV[7] == '1' then redis.call('XDEL', KEYS[3], ARGV[6]) end
end
return kept or 'ok'
