/** The glue: turns keys and time into actions, and writes the batches above the view. */
import {useApp, useInput, useStdout, type Key as InkKey} from 'ink';
import {useEffect, useReducer, useRef, useState} from 'react';
import {textWidth} from '../../cli/text.js';
import {safeText as safe} from '../../cli/safe-text.js';
import {formatTailLine, type TailLine} from './event.js';
import type {TailFeed} from './feed.js';
import {initialState, reduce, selectionOf, type Key, type State} from './state.js';
import {TailView} from './view.js';

/** 20 Hz: fast enough to look live, slow enough to cost 8 % of a core whatever the rate (cli.md §3.1). */
const FLUSH_MS = 50;
/** How much of what was shown is shown again when the selection changes. */
const REPEATED_LINES = 20;

export interface TailAppProps {
  readonly session: string;
  readonly feed: TailFeed;
  readonly timestamps: boolean;
  readonly color: boolean;
  readonly ascii: boolean;
  readonly clock: () => number;
  /** Resolves when no more events will come. */
  readonly ended: Promise<void>;
  /** Asks the screen to close, as `q` does. */
  readonly closing: AbortSignal;
}

export function TailApp({session, feed, timestamps, color, ascii, clock, ended, closing}: TailAppProps) {
  const {exit} = useApp();
  const {stdout, write} = useStdout();
  const [state, dispatch] = useReducer(reduce, initialState(session, timestamps));
  const [, setSize] = useState('');
  // The timer outlives renders and must see the newest state.
  const latest = useRef(state);
  latest.current = state;
  const agentWidth = Math.min(16, Math.max(10, ...state.agents.map(name => textWidth(name))));
  const lineOptions = {timestamps: state.timestamps, agentWidth, color, ascii};
  const options = useRef(lineOptions);
  options.current = lineOptions;

  const writeLines = (lines: readonly TailLine[]) => {
    if (lines.length > 0) write(lines.map(line => `${formatTailLine(line, options.current)}\n`).join(''));
  };

  const flush = () => {
    const {lines, lost} = feed.take(selectionOf(latest.current));
    if (lost > 0)
      write(`${ascii ? '...' : '…'} ${lost} lines came too fast to keep; the session still has them\n`);
    writeLines(lines);
  };

  useInput((input, key) => dispatch({type: 'pressed', key: toKey(input, key)}));

  useEffect(() => {
    const tick = () => {
      if (latest.current.mode === 'live') flush();
      const {events, unseen, agents} = feed;
      const partials = feed.partials(selectionOf(latest.current));
      dispatch({type: 'ticked', nowMs: clock(), events, unseen, agents, partials});
    };
    const timer = setInterval(tick, FLUSH_MS);
    const onResize = () => setSize(`${stdout.columns}x${stdout.rows}`);
    stdout.on('resize', onResize);
    const close = () => dispatch({type: 'pressed', key: {name: 'ctrl-c', input: ''}});
    closing.addEventListener('abort', close, {once: true});
    void ended.then(() => dispatch({type: 'ended'}));
    return () => {
      clearInterval(timer);
      stdout.off('resize', onResize);
      closing.removeEventListener('abort', close);
    };
  }, []);

  useRepeatOnChange(state, () => {
    const lines = feed.recent(selectionOf(state), REPEATED_LINES);
    write(
      `${ascii ? '--' : '──'} ${describeSelection(state)}: ${lines.length === 0 ? 'nothing yet' : 'again, and from here on'}\n`,
    );
    writeLines(lines);
  });

  useEffect(() => {
    const isOver = state.hasEnded && state.mode === 'live';
    if (state.mode !== 'closed' && !isOver) return;
    // What came while it was paused was not seen, and is not pretended to have been.
    if (!state.wasPaused || isOver) {
      feed.end();
      flush();
    }
    exit();
  }, [state.mode, state.hasEnded]);

  return (
    <TailView
      state={state.hasEnded && state.mode === 'live' ? {...state, mode: 'closed'} : state}
      columns={stdout.columns || 80}
      rows={stdout.rows || 24}
      line={lineOptions}
    />
  );
}

/** Lines already written can not be hidden; after a change of the selection the newest that fit are written again. */
function useRepeatOnChange({filter, kind, agentType}: State, repeat: () => void): void {
  const isFirst = useRef(true);
  useEffect(() => {
    if (isFirst.current) isFirst.current = false;
    else repeat();
  }, [filter, kind, agentType]);
}

function describeSelection(state: State): string {
  const {text, types, agentType} = selectionOf(state);
  if (text === '' && types === null && agentType === null) return 'everything';
  return [
    ...(text === '' ? [] : [`lines with "${safe(text)}"`]),
    ...(types === null ? [] : [types.join(', ')]),
    ...(agentType === null ? [] : [`agent ${safe(agentType)}`]),
  ].join(', ');
}

function toKey(input: string, key: InkKey): Key {
  if (key.ctrl) return {name: input === 'c' ? 'ctrl-c' : 'text', input: ''};
  if (key.return) return {name: 'return', input: ''};
  if (key.escape) return {name: 'escape', input: ''};
  // Terminals differ in which of the two the key sends.
  if (key.backspace || key.delete) return {name: 'backspace', input: ''};
  return {name: 'text', input};
}
