/** The glue of a question that is asked by itself: keys and time become actions. */
import {useApp, useInput, useStdout} from 'ink';
import {useEffect, useReducer, useState} from 'react';
import {toKeys} from './keys.js';
import {answerOf, initialState, reduce, type Asked} from './state.js';
import {QuestionView} from './view.js';

export interface QuestionAppProps {
  readonly asked: Asked;
  /** Milliseconds it has; 0 as long as it takes. */
  readonly leftMs: number;
  readonly ascii: boolean;
  readonly clock: () => number;
  /** Nobody waits for the answer any more. */
  readonly closing: AbortSignal;
  /** Told once: the answer, or undefined if the person left. */
  readonly onEnd: (answer: string | undefined) => void;
}

export function QuestionApp({asked, leftMs, ascii, clock, closing, onEnd}: QuestionAppProps) {
  const {exit} = useApp();
  const {stdout} = useStdout();
  const [state, dispatch] = useReducer(reduce, initialState(asked));
  const [startedAt] = useState(clock);
  const [now, setNow] = useState(startedAt);
  useInput((input, key) => toKeys(input, key).forEach(dispatch));

  useEffect(() => {
    const timer = setInterval(() => setNow(clock()), 1000);
    const close = () => dispatch({name: 'escape', input: ''});
    closing.addEventListener('abort', close, {once: true});
    return () => {
      clearInterval(timer);
      closing.removeEventListener('abort', close);
    };
  }, []);

  useEffect(() => {
    if (state.outcome === 'open') return;
    onEnd(state.outcome === 'answered' ? answerOf(state) : undefined);
    exit();
  }, [state.outcome]);

  if (state.outcome !== 'open') return null;
  const left = leftMs === 0 ? 0 : Math.max(1, leftMs - (now - startedAt));
  return <QuestionView state={state} leftMs={left} ascii={ascii} rows={stdout.rows || 24} />;
}
