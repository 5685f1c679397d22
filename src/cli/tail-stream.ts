/** `by tail wakeup|pending|deadletter`: the streams of the managers as they fill. Nothing is taken from anybody. */
import {deadLetterCode} from '../availability/replay.js';
import {readDeadLetter} from '../protocol/deadletter.js';
import {entryTimeMs} from '../protocol/deadletter.js';
import {readPendingDelivery} from '../protocol/delivery.js';
import {ProtocolError, requireData} from '../protocol/limits.js';
import {readWakeupRequest} from '../protocol/wakeup.js';
import type {ControlEntry} from '../store/control-streams.js';
import {followEntries, lastEntriesStart} from '../store/data-streams.js';
import {checkServer, type Store} from '../store/store.js';
import {checkedId} from './ids.js';
import {paint, type Printer, type Text} from './printer.js';
import {givenStart, lineCount, textPattern} from './tail-start.js';
import {textWidth} from './text.js';
import {clockTime} from './time.js';
import type {Terminal} from './tty.js';

export const TAILED_STREAMS = ['wakeup', 'pending', 'deadletter'] as const;
export type TailedStream = (typeof TAILED_STREAMS)[number];

export interface TailStream {
  readonly store: Store;
  readonly printer: Printer;
  readonly terminal: Terminal;
  readonly signal: AbortSignal;
  readonly output: string;
  readonly stream: TailedStream;
  readonly lines: string;
  readonly since?: string | undefined;
  readonly from?: string | undefined;
  readonly follow?: boolean | undefined;
  readonly agent?: string | undefined;
  readonly include?: string | undefined;
  readonly exclude?: string | undefined;
  readonly timestamps: boolean;
  /** The command that goes on where a Ctrl-C stops this one. */
  setResume(command: string): void;
}

/** One entry as people and programs are shown it; what it holds is untrusted. */
export interface StreamEvent {
  readonly type: TailedStream | 'unreadable';
  /** Stream id. */
  readonly id: string;
  /** Unix milliseconds by the server's clock. */
  readonly ts: number;
  readonly agentType: string;
  readonly executionId: string;
  /** The rest in words. */
  readonly text: string;
  readonly facts: Readonly<Record<string, unknown>>;
}

/** @throws {ByError} USAGE, INVALID_INPUT. */
export async function tailStream(run: TailStream) {
  const {store, printer, stream} = run;
  const lines = lineCount(run.lines);
  const fits = filterOf(run);
  await checkServer(store);
  const key = keyOf(store, stream);
  const after =
    (await givenStart(store, run)) ?? (lines === 'all' ? '0-0' : await lastEntriesStart(store, key, lines));
  const follows = run.follow ?? (run.terminal.isOutputTerminal && run.output === 'table');
  const events: object[] = [];
  let lastId = '';
  for await (const item of followEntries(store, key, {after, signal: run.signal, untilCaughtUp: !follows})) {
    // Said only where it is asked for.
    if (item.kind === 'gap') continue;
    lastId = item.entry.id;
    run.setResume(`by tail ${stream} --from ${lastId}`);
    const event = toStreamEvent(stream, item.entry);
    if (!fits(event)) continue;
    const {facts, text: _text, ...plain} = event;
    const document = {...plain, ...facts};
    if (run.output === 'json') events.push(document);
    printer.event(document);
    printer.out(lineOf(event, run.timestamps));
  }
  const reason = run.signal.aborted ? ('stopped' as const) : ('caught-up' as const);
  printer.event({type: 'end', reason, lastId});
  if (lastId === '' && !follows) printer.note('There is nothing.');
  return {stream, lastId, reason, ...(run.output === 'json' ? {events} : {})};
}

function keyOf({keys}: Store, stream: TailedStream): string {
  switch (stream) {
    case 'wakeup':
      return keys.wakeup();
    case 'pending':
      return keys.deliveryPending();
    case 'deadletter':
      return keys.deadletter();
  }
}

function filterOf(run: TailStream): (event: StreamEvent) => boolean {
  const agent = run.agent === undefined ? undefined : checkedId(run.agent, 'agent type');
  const include = textPattern('--include', run.include);
  const exclude = textPattern('--exclude', run.exclude);
  return ({agentType, text}) =>
    (agent === undefined || agentType === agent) &&
    (include === undefined || include.test(text)) &&
    exclude?.test(text) !== true;
}

/** What can not be read is said, never thrown: it must not hide what comes after it. */
export function toStreamEvent(stream: TailedStream, entry: ControlEntry): StreamEvent {
  const place = {id: entry.id, ts: entryTimeMs(entry.id)};
  try {
    const data = requireData(entry.data);
    switch (stream) {
      case 'wakeup':
        return {type: stream, ...place, ...wakeupEvent(data)};
      case 'pending':
        return {type: stream, ...place, ...pendingEvent(data)};
      case 'deadletter':
        return {type: stream, ...place, ...deadLetterEvent(data)};
    }
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    const reason = error.message;
    return {type: 'unreadable', ...place, agentType: '', executionId: '', text: reason, facts: {reason}};
  }
}

type Told = Pick<StreamEvent, 'agentType' | 'executionId' | 'text' | 'facts'>;

function wakeupEvent(data: Buffer): Told {
  const {
    executionId,
    targetAgentType,
    commandPayload: _command,
    metadata: _metadata,
    ...facts
  } = readWakeupRequest(data);
  const {policy, timeoutMs, source, userCode, region} = facts;
  const text = words(
    `${policy.toLowerCase().replaceAll('_', '-')} ${timeoutMs}ms`,
    source && `from ${source}`,
    userCode && `user ${userCode}`,
    region && `region ${region}`,
  );
  return {agentType: targetAgentType, executionId, text, facts};
}

function pendingEvent(data: Buffer): Told {
  const {
    executionId,
    targetAgentType,
    commandPayload: _command,
    metadata: _metadata,
    ...facts
  } = readPendingDelivery(data);
  const {sessionId, priority, userCode, region} = facts;
  const text = words(
    `priority ${priority}`,
    sessionId && `session ${sessionId}`,
    userCode && `user ${userCode}`,
    region && `region ${region}`,
  );
  return {agentType: targetAgentType, executionId, text, facts};
}

function deadLetterEvent(data: Buffer): Told {
  const {executionId, targetAgentType, source, reason, attempts, replayable, region} = readDeadLetter(data);
  const code = deadLetterCode(source);
  const facts = {code, source, reason, attempts: attempts.length, replayable, region};
  return {agentType: targetAgentType, executionId, text: words(code, reason), facts};
}

const words = (...parts: readonly string[]): string => parts.filter(part => part !== '').join('  ');

const AGENT_WIDTH = 12;

function lineOf({type, id, ts, agentType, executionId, text}: StreamEvent, timestamps: boolean): Text {
  const agent = agentType === '' ? '-' : agentType;
  return [
    timestamps ? [paint.dim(clockTime(ts)), '  '] : '',
    paint.dim(id),
    '  ',
    agent + ' '.repeat(Math.max(0, AGENT_WIDTH - textWidth(agent))),
    '  ',
    executionId === '' ? '-' : executionId,
    '  ',
    type === 'unreadable' ? paint.red(`unreadable: ${text}`) : text,
  ];
}
