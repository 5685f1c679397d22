/** One event of a session as people and programs are shown it: the JSON Lines of `by tail -o jsonl`. */
import {
  askUserPrompt,
  EVENT_TYPES,
  contentTypeOf,
  eventKind,
  eventText,
  type DataEvent,
  type EventKind,
} from '../protocol/events.js';
import {announcedQuestion, type AnnouncedQuestion} from '../protocol/question.js';
import type {SessionItem} from '../store/data-streams.js';

export interface TailEvent {
  /** `task`: a step began or ended. `gap`: retention may have removed what was here. */
  readonly type: EventKind | 'task' | 'gap';
  /** Stream id. */
  readonly id: string;
  /** Unix milliseconds by the emitter's clock. */
  readonly ts: number;
  readonly agentType: string;
  readonly messageId: string;
  readonly parentMessageId: string;
  readonly traceId: string;
  /** Untrusted text, as it was emitted. */
  readonly text: string;
  readonly contentType: string;
  readonly eventType: string;
  /** Of a question: its id, what may be answered, and in which time. */
  readonly question?: AnnouncedQuestion;
}

const TASK_EVENTS: ReadonlySet<string> = new Set([
  EVENT_TYPES.taskCreate,
  EVENT_TYPES.stepComplete,
  EVENT_TYPES.taskStop,
]);

export function toTailEvent(id: string, event: DataEvent): TailEvent {
  const kind = eventKind(event);
  const type = kind === 'other' && TASK_EVENTS.has(event.eventType) ? 'task' : kind;
  return {
    type,
    id,
    ts: event.timestamp,
    agentType: event.sourceAgentType,
    messageId: event.messageId,
    parentMessageId: event.parentMessageId,
    traceId: event.traceId,
    text:
      type === 'ask'
        ? (askUserPrompt(event)?.prompt ?? eventText(event))
        : artifactText(type, eventText(event)),
    contentType: contentTypeOf(event),
    eventType: event.eventType,
    ...(type === 'ask' ? {question: announcedQuestion(event.metadata)} : {}),
  };
}

/** Whatever a session's stream holds, in one shape. */
export function itemToTailEvent(item: SessionItem): TailEvent {
  if (item.kind === 'event') return toTailEvent(item.id, item.event);
  const text =
    item.kind === 'gap'
      ? `events after ${item.afterId} were removed by retention`
      : `unreadable entry: ${item.reason}`;
  return {
    type: item.kind === 'gap' ? 'gap' : 'other',
    id: item.id,
    ts: Number(item.id.split('-')[0]),
    agentType: '',
    messageId: '',
    parentMessageId: '',
    traceId: '',
    text,
    contentType: '',
    eventType: '',
  };
}

/** An artifact's content is JSON text around its address: spec §4.5. */
function artifactText(type: TailEvent['type'], text: string): string {
  if (type !== 'artifact') return text;
  try {
    const files: unknown = JSON.parse(text);
    if (!Array.isArray(files)) return text;
    return files
      .map((file: unknown) =>
        typeof file === 'object' && file !== null && 'fileUrl' in file ? String(file.fileUrl) : '',
      )
      .join(' ');
  } catch {
    // Another SDK's form: shown as it is.
    return text;
  }
}
