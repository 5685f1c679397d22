/** The glue: turns keys and time into actions, and writes the batches above the view. */
import {useApp, useInput, useStdout} from 'ink';
import {useEffect, useReducer, useRef, useState} from 'react';
import {textWidth} from '../../cli/text.js';
import {safeText as safe} from '../../cli/safe-text.js';
import {formatTailLine, type TailLine} from './event.js';
import type {TailFeed} from './feed.js';
import {toKeys} from '../question/keys.js';
import {initialState, reduce, selectionOf, type Answer, type Question, type State} from './state.js';
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
  /** Answers questions; absent where that can not be done. */
  readonly people?: People;
}

export interface People {
  /** What waits for an answer now. */
  questions(): Promise<readonly Question[]>;
  /** @returns what became of it, for the person. Never rejects. */
  reply(answer: Answer): Promise<string>;
}

/** How often questions that came are looked at: others may answer them too. */
const LOOK_MS = 1000;

export function TailApp(props: TailAppProps) {
  const {session, feed, timestamps, color, ascii, clock, ended, closing, people} = props;
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

  useInput((input, key) => toKeys(input, key).forEach(each => dispatch({type: 'pressed', key: each})));

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

  useQuestions(people, feed, questions => dispatch({type: 'asked', questions}));

  const sent = useRef(0);
  useEffect(() => {
    // Each answer once, however often the screen is drawn meanwhile.
    for (const answer of state.answers.slice(sent.current))
      void people?.reply(answer).then(outcome => write(`${safe(outcome)}\n`));
    sent.current = state.answers.length;
  }, [state.answers]);

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
      nowMs={clock()}
    />
  );
}

/** Looks for questions, once one came, as long as the screen is open. */
function useQuestions(
  people: People | undefined,
  feed: TailFeed,
  tell: (questions: readonly Question[]) => void,
): void {
  useEffect(() => {
    if (people === undefined) return undefined;
    let isLooking = false;
    const look = () => {
      if (feed.asks === 0 || isLooking) return;
      isLooking = true;
      people
        .questions()
        .then(tell, () => {
          // Redis is away; the reader says so if it stays away.
        })
        .finally(() => (isLooking = false));
    };
    const timer = setInterval(look, LOOK_MS);
    return () => clearInterval(timer);
  }, []);
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
