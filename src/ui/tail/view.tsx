/** The few lines below the events: lines that still grow, the state of the session, the keys. */
import {Box, Text} from 'ink';
import {safeText} from '../../cli/safe-text.js';
import {formatTailLine, type LineOptions} from './event.js';
import {KINDS, type State} from './state.js';

/** More growing lines than this would push the events off a small terminal. */
const MOST_PARTIALS = 3;

export interface TailViewProps {
  readonly state: State;
  readonly columns: number;
  readonly rows: number;
  readonly line: LineOptions;
}

export function TailView({state, columns, rows, line}: TailViewProps) {
  if (state.mode === 'closed') return null;
  // A frame as high as the terminal flickers; on a tiny one the events are worth more than the keys.
  const room = rows - 4;
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
      {rows > 4 && <Keys state={state} />}
    </Box>
  );
}

function Status({state, ascii}: {state: State; ascii: boolean}) {
  const {mode, hasEnded, session, agents, agentType, events, eventsPerSecond, filter, kind, unseen} = state;
  const selected = [
    `filter: ${filter === '' ? 'none' : safeText(filter)}`,
    ...(kind === 0 ? [] : [`events: ${KINDS[kind]?.name ?? ''}`]),
    ...(agentType === null ? [] : [`agent: ${safeText(agentType)}`]),
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
