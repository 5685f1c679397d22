/** Finding what became of one command: its entry in a queue, the delivery that holds it back, its dead letter. */
import {readPendingDelivery} from '../protocol/delivery.js';
import {readCommandEntry} from '../protocol/commands.js';
import {ProtocolError, readable} from '../protocol/limits.js';
import {readWakeupRequest, type WakeupRequest} from '../protocol/wakeup.js';
import {nextPending} from './control-plane.js';
import {streamReply, type ControlEntry} from './control-streams.js';
import {listDeadLetters, type StoredDeadLetter} from './dead-letters.js';
import {firstEntries} from './queues.js';
import type {Store} from './store.js';

const PAGE = 200;

/** The first entry with a message's command among the first `most` of a stream. */
export async function entryOfMessage(
  store: Store,
  stream: string,
  messageId: string,
  most: number,
): Promise<ControlEntry | undefined> {
  let from = '-';
  for (let looked = 0; looked < most; looked += PAGE) {
    const page = await firstEntries(store, stream, PAGE, from);
    const found = page.find(entry => messageOf(entry) === messageId);
    const last = page.at(-1);
    if (found !== undefined || last === undefined || page.length < PAGE) return found;
    from = `(${last.id}`;
  }
  return undefined;
}

/** @returns undefined for what is no command. */
const messageOf = ({data}: ControlEntry): string | undefined =>
  readable(() => readCommandEntry(data))?.header.messageId;

/** Whether a message is among the first `most` commands held back until its agent type is online. */
export async function isHeldBack(
  store: Store,
  agentType: string,
  messageId: string,
  most: number,
): Promise<boolean> {
  const held = await nextPending(store, agentType, most);
  return held.some(({document}) => {
    try {
      return document !== null && readPendingDelivery(document).messageId === messageId;
    } catch (error) {
      if (error instanceof ProtocolError) return false;
      throw error;
    }
  });
}

/**
 * The commands inside of wakeup requests, by their execution: other SDKs never delete a request, and keep the command
 * nowhere else.
 * @param most requests to look at, the newest first.
 */
export async function commandsOfWakeups(
  store: Store,
  executionIds: ReadonlySet<string>,
  most: number,
): Promise<Map<string, Readonly<Record<string, unknown>>>> {
  const found = new Map<string, Readonly<Record<string, unknown>>>();
  const stream = store.keys.wakeup();
  let before = '+';
  for (let looked = 0; looked < most && found.size < executionIds.size; looked += PAGE) {
    const end = before;
    const reply = await store.commands.run(
      redis => redis.callBuffer('XREVRANGE', stream, end, '-', 'COUNT', String(PAGE)),
      {retryForMs: 5000},
    );
    const page = streamReply([[Buffer.from(stream), reply]]);
    for (const {data} of page) {
      const request = data && readRequest(data);
      if (!request || !executionIds.has(request.executionId) || found.has(request.executionId)) continue;
      if (Object.keys(request.commandPayload).length > 0)
        found.set(request.executionId, request.commandPayload);
    }
    const last = page.at(-1);
    if (last === undefined || page.length < PAGE) return found;
    before = `(${last.id}`;
  }
  return found;
}

const readRequest = (data: Buffer): WakeupRequest | undefined => readable(() => readWakeupRequest(data));

/** The newest dead letter of an execution among the newest `most` of all. */
export async function deadLetterOf(
  store: Store,
  executionId: string,
  most: number,
): Promise<StoredDeadLetter | undefined> {
  let before = '+';
  for (let looked = 0; looked < most; looked += PAGE) {
    const page = await listDeadLetters(store, PAGE, before);
    const found = page.find(({letter}) => letter?.executionId === executionId);
    const last = page.at(-1);
    if (found !== undefined || last === undefined || page.length < PAGE) return found;
    before = last.id;
  }
  return undefined;
}
