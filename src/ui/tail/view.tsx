/** The few lines below the events: lines that still grow, the state of the session, the keys. */
import {Box, Text} from 'ink';
import {safeText} from '../../cli/safe-text.js';
import {formatTailLine, type LineOptions} from './event.js';
import {QuestionView} from '../question/view.js';
import {KINDS, type Replying, type State} from './state.js';

/** More growing lines than this would push the events off a small terminal. */
const MOST_PARTIALS = 3;

export interface TailViewProps {
  readonly state: State;
  readonly columns: number;
  readonly rows: number;
  readonly line: LineOptions;
  /** Unix milliseconds, to tell the time a question has left. */
  readonly nowMs: number;
}

export function TailView({state, columns, rows, line, nowMs}: TailViewProps) {
  if (state.mode === 'closed') return null;
  // A frame as high as the terminal flickers; on a tiny one the events are worth more than the keys.
  const room = state.replying === null ? rows - 4 : 0;
  const partials = room > 0 ? state.partials.slice(-Math.min(MOST_PARTIALS, room)) : [];
  return (
    <Box flexDirection="column" width={columns}>
      {partials.map(partial => (
        <Text key={`${partial.messageId} ${partial.type}`} wrap="truncate-middle">
          {formatTailLine(partial, line)}
        </Text>
      ))}
      <Text dimColor>{(line.ascii ? '-' : '─').repeat(columns)}</Text>
      {state.mode === 'typing' ? <FilterInput state={state} /> : <Status state={state} ascii={line.ascii} />}
      {state.replying !== null && (
        <Reply replying={state.replying} ascii={line.ascii} nowMs={nowMs} rows={rows} />
      )}
      {rows > 4 && state.replying === null && <Keys state={state} />}
    </Box>
  );
}

const asks = (count: number): string => `${count} ${count === 1 ? 'question' : 'questions'}: r reply`;

function Status({state, ascii}: {state: State; ascii: boolean}) {
  const {mode, hasEnded, session, agents, agentType, events, eventsPerSecond, filter, kind, unseen} = state;
  const selected = [
    `filter: ${filter === '' ? 'none' : safeText(filter)}`,
    ...(kind === 0 ? [] : [`events: ${KINDS[kind]?.name ?? ''}`]),
    ...(agentType === null ? [] : [`agent: ${safeText(agentType)}`]),
    ...(state.questions.length === 0 ? [] : [asks(state.questions.length)]),
  ].join('   ');
  if (mode === 'paused') {
    const bars = ascii ? '||' : '❚❚';
    return (
      <Text
        color="yellow"
        wrap="truncate-end"
      >{`${bars} paused ${ascii ? '-' : '·'} ${unseen} new below   ${selected}`}</Text>
    );
  }
  const count = `${agents.length} ${agents.length === 1 ? 'agent' : 'agents'}`;
  return (
    <Text wrap="truncate-end">
      <Text color={hasEnded ? 'gray' : 'green'}>{ascii ? '*' : '●'}</Text>
      {` ${hasEnded ? 'ended' : 'live'} ${safeText(session)}  ${count}  ${events} ev  ${eventsPerSecond}/s   ${selected}`}
    </Text>
  );
}

interface ReplyProps {
  readonly replying: Replying;
  readonly ascii: boolean;
  readonly nowMs: number;
  readonly rows: number;
}

function Reply({replying, ascii, nowMs, rows}: ReplyProps) {
  const {dueAt} = replying.question;
  const leftMs = dueAt === 0 ? 0 : Math.max(1, dueAt - nowMs);
  return <QuestionView state={replying.state} leftMs={leftMs} ascii={ascii} rows={rows} />;
}

function FilterInput({state}: {state: State}) {
  return (
    <Text wrap="truncate-start">
      {`filter> ${safeText(state.draft)}`}
      <Text inverse> </Text>
    </Text>
  );
}

function Keys({state}: {state: State}) {
  const keys =
    state.mode === 'typing'
      ? 'enter apply  esc cancel'
      : `space ${state.mode === 'paused' ? 'go on' : 'pause'}  / filter  e events  a agent  t time  q quit`;
  return (
    <Text dimColor wrap="truncate-end">
      {keys}
    </Text>
  );
}
