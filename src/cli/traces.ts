/** `by trace list|show`. */
import {ByError} from '../errors.js';
import {traceTree, type TraceRow} from '../observe/trace-tree.js';
import {serverTimeMs, type Store} from '../store/store.js';
import {findTraces, listTraces, readTrace} from '../store/traces.js';
import {LOOK_AT_KEYS} from './choose-session.js';
import {formatDuration} from './duration.js';
import {showFacts} from './facts.js';
import {checkedId} from './ids.js';
import {opaque} from './json.js';
import {paint, type Printer, type Text} from './printer.js';
import {statusText} from './show-executions.js';
import {stems} from './stems.js';
import {isoTime, relativeTime} from './time.js';

/** Most spans that are read of one trace. */
const MOST_SPANS = 5000;
/** Columns of the drawing. */
const BAR = 24;
/** The tree may not take more than this of a terminal, in levels that are indented. */
const INDENTED = 20;

export interface ListTraces {
  readonly session: string | undefined;
  readonly agent: string | undefined;
  readonly worker: string | undefined;
  readonly limit: number;
}

/** @throws {ByError} INVALID_INPUT */
export async function listForPeople(store: Store, printer: Printer, output: string, request: ListTraces) {
  const found = await foundTraces(store, request);
  const now = await serverTimeMs(store);
  const all = found
    .map(({traceId, fields}) => summaryOf(traceId, fields))
    .sort((a, b) => b.startTs - a.startTs || (a.traceId < b.traceId ? -1 : 1));
  const traces = all.slice(0, request.limit);
  if (output === 'name') for (const {traceId} of traces) printer.out(traceId);
  else
    printer.table(traces, [
      {header: 'TRACE', value: ({traceId}) => traceId},
      {header: 'AGENT TYPE', value: ({agentType}) => agentType || '-'},
      {header: 'STATUS', value: ({status}) => statusText(status || '-')},
      {header: 'BEGAN', value: ({startTs}) => (startTs === 0 ? '-' : relativeTime(startTs, now))},
      {header: 'TOOK', value: ({tookMs}) => (tookMs === null ? '-' : formatDuration(tookMs)), align: 'right'},
      {header: 'SESSION', value: ({sessionId}) => sessionId || '-', shrink: true},
    ]);
  if (traces.length === 0)
    printer.note('No trace is kept here. Workers and clients write them with --redis-traces.');
  if (traces.length < all.length)
    printer.note(paint.dim(`the newest ${traces.length} of ${all.length}; more with --limit`));
  return {traces};
}

function foundTraces(store: Store, {session, agent, worker, limit}: ListTraces) {
  if (session !== undefined)
    return listTraces(store, {index: 'session', id: checkedId(session, 'session id')}, limit);
  if (agent !== undefined)
    return listTraces(store, {index: 'agent', id: checkedId(agent, 'agent type')}, limit);
  if (worker !== undefined)
    return listTraces(store, {index: 'worker', id: checkedId(worker, 'worker id')}, limit);
  return findTraces(store, LOOK_AT_KEYS);
}

/** What the hash of a trace says; other programs write it too, so any of it may be missing or odd. */
function summaryOf(traceId: string, fields: Readonly<Record<string, string>>) {
  const [startTs, endTs] = [timeOf(fields['start_ts']), timeOf(fields['end_ts'])];
  return {
    traceId,
    agentType: fields['root_agent_type'] ?? '',
    status: fields['status'] ?? '',
    sessionId: fields['session_id'] ?? '',
    rootMessageId: fields['root_message_id'] ?? '',
    startTs,
    endTs,
    tookMs: startTs === 0 || endTs === 0 ? null : Math.max(0, endTs - startTs),
  };
}

const timeOf = (text: string | undefined): number => {
  const value = Number(text ?? 0);
  return Number.isSafeInteger(value) && value > 0 ? value : 0;
};

/**
 * @param depth deepest level to show.
 * @throws {ByError} INVALID_INPUT, NOT_FOUND.
 */
export async function showForPeople(store: Store, printer: Printer, traceId: string, depth: number) {
  const trace = await readTrace(store, checkedTrace(traceId), MOST_SPANS);
  if (trace === undefined) {
    throw new ByError('NOT_FOUND', `No trace "${traceId}" is kept here.`, {
      hint: 'Records of traces live for 15 minutes, and are written with --redis-traces only.',
      next: ['by trace list'],
    });
  }
  const summary = summaryOf(traceId, trace.fields);
  const tree = traceTree(trace.spans);
  const rows = tree.filter(row => row.depth <= depth);
  const from = Math.min(...tree.map(({span}) => span.startTs));
  const until = Math.max(...tree.map(({span}) => span.endTs));
  showFacts(printer, [
    ['trace', traceId],
    ['status', statusText(summary.status || '-')],
    summary.sessionId === '' ? undefined : ['session', summary.sessionId],
    tree.length === 0 ? undefined : ['began', isoTime(from)],
    tree.length === 0 ? undefined : ['took', formatDuration(until - from)],
  ]);
  if (rows.length > 0) printer.out();
  printRows(printer, rows, from, until);
  if (rows.length < tree.length)
    printer.note(
      paint.dim(`${tree.length - rows.length} spans below level ${depth} are not shown; see --depth`),
    );
  if (trace.spanCount > MOST_SPANS)
    printer.note(paint.dim(`the first ${MOST_SPANS} of ${trace.spanCount} spans`));
  if (tree.length === 0) printer.note('No span of it was told yet.');
  return {
    ...summary,
    spanCount: trace.spanCount,
    spans: rows.map(({span, depth, placement}) => spanView(span, depth, placement)),
  };
}

/** Other SDKs take any text for a trace id; what would end up in another key is none. */
function checkedTrace(traceId: string): string {
  if (traceId !== '' && traceId.length <= 256 && !/[{}\s\p{Cc}]/u.test(traceId)) return traceId;
  throw new ByError('INVALID_INPUT', `"${traceId.slice(0, 80)}" can not be a trace id.`, {
    hint: 'Take it from `by trace list`, or from `by exec show`.',
  });
}

function printRows(printer: Printer, rows: readonly TraceRow[], from: number, until: number): void {
  const ascii = printer.symbol('ok') === 'ok';
  const isTerminal = printer.columns !== undefined;
  printer.table(rows, [
    {header: 'SPAN', value: row => [shownStems(row.lasts, ascii), nameOf(row)]},
    ...(isTerminal
      ? [
          {
            header: ' '.repeat(BAR),
            value: ({span}: TraceRow) => bar(span.startTs, span.endTs, from, until, ascii),
          },
        ]
      : []),
    {header: 'AT', value: ({span}) => `+${formatDuration(span.startTs - from)}`, align: 'right'},
    {
      header: 'TOOK',
      value: ({span}) => formatDuration(Math.max(0, span.endTs - span.startTs)),
      align: 'right',
    },
    {header: 'STATUS', value: ({span}) => statusText(span.status || '-')},
    {header: 'WORKER', value: ({span}) => span.workerId || '-', shrink: true},
    {header: 'ERROR', value: ({span}) => span.errorMessage || span.errorCode || '', shrink: true},
  ]);
}

const OF_AGENTS: ReadonlySet<string> = new Set(['client.dispatch', 'worker.execute', 'agent.return']);

function nameOf({span, placement}: TraceRow): Text {
  const name = span.name || span.operation || span.spanId;
  const target = OF_AGENTS.has(span.operation) && span.targetAgentType ? ` ${span.targetAgentType}` : '';
  return [name, paint.bold(target), placement === 'orphan' ? paint.yellow('  (its parent is not here)') : ''];
}

/** Of a branch that is too deep to be drawn only the end is. */
const shownStems = (lasts: readonly boolean[], ascii: boolean): Text => [
  lasts.length > INDENTED ? paint.dim(ascii ? '.. ' : '… ') : '',
  stems(lasts.slice(-INDENTED), ascii),
];

/** Where the span lies between the first start and the last end; never less than one column. */
function bar(start: number, end: number, from: number, until: number, ascii: boolean): Text {
  const scale = until === from ? 0 : BAR / (until - from);
  const left = Math.min(BAR - 1, Math.max(0, Math.floor((start - from) * scale)));
  const width = Math.min(BAR - left, Math.max(1, Math.round((end - start) * scale)));
  return [' '.repeat(left), paint.cyan((ascii ? '=' : '█').repeat(width)), ' '.repeat(BAR - left - width)];
}

function spanView(span: TraceRow['span'], depth: number, placement: TraceRow['placement']) {
  const {input, output, metadata, tokens, cost, ...facts} = span;
  return {
    depth,
    placement,
    ...facts,
    ...(input === undefined ? {} : {input: opaque(input)}),
    ...(output === undefined ? {} : {output: opaque(output)}),
    tokens: opaque({...tokens}),
    cost: opaque({...cost}),
    metadata: opaque({...metadata}),
  };
}
