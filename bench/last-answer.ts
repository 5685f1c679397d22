import type {Redis} from 'ioredis';
import type {StreamReply} from './subject.js';

/** Reads a session until its end. @returns the event before that. */
export async function lastAnswer(reader: Redis, stream: string): Promise<string> {
  let [last, before] = ['0', ''];
  for (;;) {
    const reply = (await reader.xread('BLOCK', 0, 'STREAMS', stream, last)) as StreamReply;
    for (const [id, [, event = '']] of reply[0]?.[1] ?? []) {
      if (event.includes('"appStreamResponse"')) return before;
      [last, before] = [id, event];
    }
  }
}
