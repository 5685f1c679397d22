/** Answering one question: what is typed or chosen so far. Pure: no terminal, no clock. */

export interface Asked {
  readonly agentType: string;
  readonly prompt: string;
  /** What may be answered; absent for any text. */
  readonly choices?: readonly string[];
  /** The answer when nobody answers in time. */
  readonly default?: string;
}

export interface State {
  readonly asked: Asked;
  readonly draft: string;
  /** Place among the choices. */
  readonly chosen: number;
  readonly outcome: 'open' | 'answered' | 'left';
}

export interface Key {
  readonly name: 'return' | 'newline' | 'escape' | 'backspace' | 'up' | 'down' | 'tab' | 'ctrl-c' | 'text';
  readonly input: string;
}

const LONGEST_ANSWER = 64 * 1024;

export const initialState = (asked: Asked): State => ({
  asked,
  draft: '',
  chosen: Math.max(0, asked.choices?.indexOf(asked.default ?? '') ?? 0),
  outcome: 'open',
});

/** The answer as it stands; '' if there is none yet. */
export const answerOf = ({asked, draft, chosen}: State): string =>
  asked.choices === undefined ? draft.trim() : (asked.choices[chosen] ?? '');

export function reduce(state: State, key: Key): State {
  if (key.name === 'escape' || key.name === 'ctrl-c') return {...state, outcome: 'left'};
  if (key.name === 'return') return answerOf(state) === '' ? state : {...state, outcome: 'answered'};
  return state.asked.choices === undefined
    ? {...state, draft: typed(state.draft, key)}
    : {...state, chosen: moved(state.asked.choices.length, state.chosen, key)};
}

function typed(draft: string, {name, input}: Key): string {
  switch (name) {
    case 'backspace':
      return Array.from(draft).slice(0, -1).join('');
    case 'newline':
      return `${draft}\n`;
    case 'text':
      // A paste may bring line ends and control codes.
      return (draft + input.replace(/\r\n?/g, '\n').replace(/[^\P{Cc}\n]/gu, '')).slice(0, LONGEST_ANSWER);
    default:
      return draft;
  }
}

function moved(count: number, chosen: number, {name, input}: Key): number {
  if (name === 'up') return (chosen + count - 1) % count;
  if (name === 'down') return (chosen + 1) % count;
  const digit = Number(input);
  return name === 'text' && Number.isInteger(digit) && digit >= 1 && digit <= count ? digit - 1 : chosen;
}
