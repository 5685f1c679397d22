/** What the tail screen shows and how keys change it. Pure: no terminal, no clock. */
import type {TailEventType, TailLine} from './event.js';
import * as reply from '../question/state.js';
import type {Selection} from './feed.js';

/** What waits for the person at the screen. */
export interface Question extends reply.Asked {
  readonly executionId: string;
  readonly questionId: string;
  /** Until when an answer is taken, in Unix milliseconds by this process's clock; 0 as long as it takes. */
  readonly dueAt: number;
}

/** A question while it is answered. */
export interface Replying {
  readonly question: Question;
  readonly state: reply.State;
}

/** An answer on its way. */
export interface Answer {
  readonly question: Question;
  readonly text: string;
}

export interface State {
  readonly session: string;
  readonly mode: 'live' | 'paused' | 'typing' | 'replying' | 'closed';
  /** The filter as it is being typed. */
  readonly draft: string;
  /** Whether the screen was paused before it was typed in or closed. */
  readonly wasPaused: boolean;
  readonly filter: string;
  /** Place in {@link KINDS}. */
  readonly kind: number;
  readonly agentType: string | null;
  readonly timestamps: boolean;
  readonly hasEnded: boolean;
  readonly events: number;
  readonly eventsPerSecond: number;
  readonly unseen: number;
  readonly agents: readonly string[];
  readonly partials: readonly TailLine[];
  /** What waits for an answer, oldest first. */
  readonly questions: readonly Question[];
  /** Absent while nothing is answered. */
  readonly replying: Replying | null;
  /** Answers to be sent, in order. */
  readonly answers: readonly Answer[];
  /** Event counts of the last seconds, to tell the rate. */
  readonly samples: readonly Sample[];
}

interface Sample {
  readonly atMs: number;
  readonly events: number;
}

export type Key = reply.Key;

export type Action =
  | {readonly type: 'pressed'; readonly key: Key}
  | {
      readonly type: 'ticked';
      readonly nowMs: number;
      readonly events: number;
      readonly unseen: number;
      readonly agents: readonly string[];
      readonly partials: readonly TailLine[];
    }
  /** What waits for an answer now. */
  | {readonly type: 'asked'; readonly questions: readonly Question[]}
  | {readonly type: 'ended'};

/** What `e` goes through. */
export const KINDS: readonly {readonly name: string; readonly types: readonly TailEventType[] | null}[] = [
  {name: 'all', types: null},
  {name: 'answers', types: ['answer', 'final', 'ask']},
  {name: 'reasoning', types: ['reasoning']},
  {name: 'states', types: ['state', 'end', 'gap']},
  {name: 'artifacts', types: ['artifact']},
  {name: 'tasks', types: ['task', 'ask']},
];

const LONGEST_FILTER = 200;
const RATE_WINDOW_MS = 3000;
const SAMPLE_EVERY_MS = 500;

export function initialState(session: string, timestamps: boolean): State {
  return {
    session,
    mode: 'live',
    draft: '',
    wasPaused: false,
    filter: '',
    kind: 0,
    agentType: null,
    timestamps,
    hasEnded: false,
    events: 0,
    eventsPerSecond: 0,
    unseen: 0,
    agents: [],
    partials: [],
    questions: [],
    replying: null,
    answers: [],
    samples: [],
  };
}

export const selectionOf = ({filter, kind, agentType}: State): Selection => ({
  text: filter.toLowerCase(),
  types: KINDS[kind]?.types ?? null,
  agentType,
});

/** @returns The same object if nothing that is shown changed, so that nothing is drawn again. */
export function reduce(state: State, action: Action): State {
  switch (action.type) {
    case 'pressed':
      if (state.replying !== null) return whileReplying(state, state.replying, action.key);
      return state.mode === 'typing' ? whileTyping(state, action.key) : pressed(state, action.key);
    case 'asked':
      return asked(state, action.questions);
    case 'ended':
      return {...state, hasEnded: true, partials: []};
    case 'ticked':
      return ticked(state, action);
  }
}

function pressed(state: State, {input, name}: Key): State {
  if (name === 'ctrl-c') return closed(state);
  switch (input) {
    case ' ':
      return {...state, mode: state.mode === 'paused' ? 'live' : 'paused'};
    case '/':
      return {...state, mode: 'typing', draft: state.filter, wasPaused: state.mode === 'paused'};
    case 'e':
      return {...state, kind: (state.kind + 1) % KINDS.length};
    case 'a':
      return {...state, agentType: nextAgent(state)};
    case 't':
      return {...state, timestamps: !state.timestamps};
    case 'r':
      return replyTo(state, state.questions[0]);
    case 'q':
      return closed(state);
    default:
      return state;
  }
}

const closed = (state: State): State => ({...state, mode: 'closed', wasPaused: state.mode === 'paused'});

const isSame = (a: Question, b: Question): boolean =>
  a.executionId === b.executionId && a.questionId === b.questionId;

function asked(state: State, questions: readonly Question[]): State {
  const same =
    questions.length === state.questions.length &&
    questions.every((question, at) => {
      const before = state.questions[at];
      return before !== undefined && isSame(question, before);
    });
  if (same) return state;
  const {replying} = state;
  // Somebody else has answered, or its time has passed.
  if (replying !== null && !questions.some(question => isSame(question, replying.question)))
    return {...notReplying(state), questions};
  return {...state, questions};
}

function replyTo(state: State, question: Question | undefined): State {
  if (question === undefined) return state;
  const wasPaused = state.mode === 'paused';
  return {...state, mode: 'replying', wasPaused, replying: {question, state: reply.initialState(question)}};
}

const notReplying = (state: State): State => ({
  ...state,
  mode: state.wasPaused ? 'paused' : 'live',
  replying: null,
});

function whileReplying(state: State, {question, state: before}: Replying, key: Key): State {
  if (key.name === 'ctrl-c') return {...closed(state), replying: null, wasPaused: state.wasPaused};
  if (key.name === 'tab') {
    const at = state.questions.findIndex(other => isSame(other, question));
    const next = state.questions[(at + 1) % state.questions.length] ?? question;
    return {...state, replying: {question: next, state: reply.initialState(next)}};
  }
  const after = reply.reduce(before, key);
  switch (after.outcome) {
    case 'open':
      return {...state, replying: {question, state: after}};
    case 'left':
      return notReplying(state);
    case 'answered':
      return {
        ...notReplying(state),
        questions: state.questions.filter(other => !isSame(other, question)),
        answers: [...state.answers, {question, text: reply.answerOf(after)}],
      };
  }
}

function whileTyping(state: State, {input, name}: Key): State {
  const mode = state.wasPaused ? 'paused' : 'live';
  switch (name) {
    case 'ctrl-c':
      return {...state, mode: 'closed'};
    case 'return':
      return {...state, mode, filter: state.draft.trim(), draft: ''};
    case 'escape':
      return {...state, mode, draft: ''};
    case 'backspace':
      return {...state, draft: Array.from(state.draft).slice(0, -1).join('')};
    case 'text':
      // A paste may bring line ends and control codes.
      return {...state, draft: (state.draft + input.replace(/\p{Cc}/gu, '')).slice(0, LONGEST_FILTER)};
    default:
      return state;
  }
}

/** From everybody through each agent seen, and back to everybody. */
function nextAgent({agents, agentType}: State): string | null {
  const at = agentType === null ? -1 : agents.indexOf(agentType);
  return agents[at + 1] ?? null;
}

function ticked(state: State, {nowMs, events, unseen, agents, partials}: Action & {type: 'ticked'}): State {
  const samples = sampled(state.samples, {atMs: nowMs, events});
  const eventsPerSecond = rateOf(samples, nowMs);
  const isSame =
    state.events === events &&
    state.unseen === unseen &&
    state.eventsPerSecond === eventsPerSecond &&
    state.agents.length === agents.length &&
    samePartials(state.partials, partials);
  if (isSame && samples === state.samples) return state;
  return {...state, events, unseen, agents, partials, samples, eventsPerSecond};
}

function sampled(samples: readonly Sample[], now: Sample): readonly Sample[] {
  const last = samples.at(-1);
  if (last !== undefined && now.atMs - last.atMs < SAMPLE_EVERY_MS) return samples;
  return [...samples.filter(sample => now.atMs - sample.atMs <= RATE_WINDOW_MS), now];
}

function rateOf(samples: readonly Sample[], nowMs: number): number {
  const first = samples[0];
  const last = samples.at(-1);
  if (first === undefined || last === undefined || last.atMs === first.atMs) return 0;
  return Math.round(((last.events - first.events) * 1000) / Math.max(1, nowMs - first.atMs));
}

function samePartials(a: readonly TailLine[], b: readonly TailLine[]): boolean {
  return a.length === b.length && a.every((line, at) => line.text === b[at]?.text && line.ts === b[at].ts);
}
