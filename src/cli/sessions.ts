/** `by session list|show`. Cancelling one is run-cancel.ts. */
import {itemToTailEvent} from '../observe/tail-event.js';
import {listSessions, showSession, type SessionState} from '../registry/sessions.js';
import {requireOwn, sessionUser} from '../store/ownership.js';
import {serverTimeMs, type Store} from '../store/store.js';
import {formatDuration} from './duration.js';
import {showFacts} from './facts.js';
import {checkedId} from './ids.js';
import {paint, type Printer, type Text} from './printer.js';
import {executionView, noSuchSession, printExecutions} from './show-executions.js';
import {isoTime, relativeTime} from './time.js';

export async function listForPeople(
  store: Store,
  printer: Printer,
  output: string,
  request: {readonly limit: number; readonly look: number},
) {
  const {sessions, found, isComplete} = await listSessions(store, request);
  if (output === 'name') for (const {sessionId} of sessions) printer.out(sessionId);
  else {
    const now = await serverTimeMs(store);
    printer.table(sessions, [
      {header: 'SESSION', value: session => session.sessionId},
      {header: 'STATE', value: session => stateText(session.state)},
      {header: 'LAST', value: session => relativeTime(session.lastHeard, now)},
      {header: 'OPEN', value: session => String(session.open), align: 'right'},
      {header: 'EXECUTIONS', value: session => String(session.executions), align: 'right'},
      {header: 'EVENTS', value: session => String(session.events), align: 'right'},
      {header: 'AGENT TYPES', value: session => session.agentTypes.join(', ') || '-', shrink: true},
    ]);
    if (sessions.length === 0) printer.note('No session is known here. Start one with by send');
    else if (sessions.length < found)
      printer.note(paint.dim(`the last ${sessions.length} of ${found}; more with --limit`));
  }
  if (!isComplete)
    printer.warn(`Only about ${request.look} keys of each server were looked at; more with --look.`);
  return {sessions, found, complete: isComplete};
}

/** @throws {ByError} INVALID_INPUT, NOT_FOUND. */
export async function showForPeople(store: Store, printer: Printer, id: string, userCode = '') {
  await requireOwn(store, checkedId(id, 'session id'), userCode);
  const session = await showSession(store, checkedId(id, 'session id'));
  if (session === undefined) throw noSuchSession(id);
  const {records, lastEvent, lastEventId, ...summary} = session;
  const shown = lastEvent && itemToTailEvent({kind: 'event', id: lastEventId, event: lastEvent});
  const [now, user] = await Promise.all([serverTimeMs(store), sessionUser(store, id)]);
  showFacts(printer, [
    ['session', session.sessionId],
    user === '' ? undefined : ['user', user],
    ['state', stateText(session.state)],
    ['last heard of', `${isoTime(session.lastHeard)}  (${relativeTime(session.lastHeard, now)})`],
    ['executions', `${session.executions}, ${session.open} not ended`],
    ['events', String(session.events)],
    lastEventId === ''
      ? undefined
      : [
          'last event',
          shown === undefined
            ? `${lastEventId}  can not be read`
            : `${lastEventId}  ${shown.type}  ${shown.agentType}  ${shown.text.slice(0, 80)}`,
        ],
    ['executions kept', keptText(session.registryTtlMs)],
    ['events kept', keptText(session.eventsTtlMs)],
  ]);
  printer.out();
  printExecutions(printer, 'table', records);
  printer.note(paint.dim(`next: by tail ${id}   by exec tree --session ${id}`));
  return {
    ...summary,
    userCode: user,
    lastEventId,
    lastEvent: shown ?? null,
    executionList: records.map(executionView),
  };
}

function keptText(ttlMs: number): string {
  if (ttlMs === -2) return 'there are none';
  return ttlMs < 0 ? 'for ever' : `for ${formatDuration(ttlMs)} more`;
}

function stateText(state: SessionState): Text {
  switch (state) {
    case 'running':
      return paint.green(state);
    case 'cancelling':
    case 'waiting':
      return paint.yellow(state);
    case 'queued':
    case 'ended':
    case 'empty':
      return state;
  }
}
