/** What the tail screen shows and how keys change it. Pure: no terminal, no clock. */
import type {TailEventType, TailLine} from './event.js';
import type {Selection} from './feed.js';

export interface State {
  readonly session: string;
  readonly mode: 'live' | 'paused' | 'typing' | 'closed';
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
  /** Event counts of the last seconds, to tell the rate. */
  readonly samples: readonly Sample[];
}

interface Sample {
  readonly atMs: number;
  readonly events: number;
}

export interface Key {
  readonly input: string;
  readonly name: 'return' | 'escape' | 'backspace' | 'ctrl-c' | 'text';
}

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
      return state.mode === 'typing' ? whileTyping(state, action.key) : pressed(state, action.key);
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
    case 'q':
      return closed(state);
    default:
      return state;
  }
}

const closed = (state: State): State => ({...state, mode: 'closed', wasPaused: state.mode === 'paused'});

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
