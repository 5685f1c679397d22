/** Events for the tests of the tail. */
import type {TailEvent, TailEventType} from '../../../src/ui/tail/event.js';

let next = 0;

export function event(type: TailEventType, text: string, more: Partial<TailEvent> = {}): TailEvent {
  next++;
  return {
    type,
    id: `1716123731640-${next}`,
    ts: Date.UTC(2026, 0, 1, 14, 2, 11, 640),
    agentType: 'translator',
    messageId: 'msg-1',
    parentMessageId: '',
    traceId: '',
    text,
    contentType: '',
    eventType: '',
    ...more,
  };
}
