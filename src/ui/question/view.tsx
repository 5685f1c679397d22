/** A question and the answer so far, in a few lines. */
import {Box, Text} from 'ink';
import {timeText} from '../../cli/question-text.js';
import {safeText} from '../../cli/safe-text.js';
import type {State} from './state.js';

/** More lines of a question, and more choices, are not shown at once. */
const MOST_LINES = 10;
/** What else is on the terminal, and a line to spare: a frame as high as the terminal flickers. */
const OTHER_LINES = 6;

export interface QuestionViewProps {
  readonly state: State;
  /** Milliseconds it still has; 0 as long as it takes. */
  readonly leftMs: number;
  readonly ascii: boolean;
  /** Lines of the terminal. */
  readonly rows: number;
}

export function QuestionView({state, leftMs, ascii, rows}: QuestionViewProps) {
  const {asked, chosen, draft} = state;
  const lines = safeText(asked.prompt, {lines: true}).split('\n');
  const time = timeText(asked.default, leftMs);
  const most = Math.max(1, Math.min(MOST_LINES, Math.floor((rows - OTHER_LINES) / 2)));
  const first = Math.max(0, Math.min(chosen - most + 1, (asked.choices?.length ?? 0) - most));
  return (
    <Box flexDirection="column">
      <Text>
        <Text color="yellow">? </Text>
        <Text bold>{safeText(asked.agentType)}</Text>
        {` asks: ${lines[0] ?? ''}`}
      </Text>
      {lines.slice(1, most).map((line, row) => (
        <Text key={row}>{`  ${line}`}</Text>
      ))}
      {lines.length > most && <Text dimColor>{`  ${ascii ? '...' : '…'}`}</Text>}
      {asked.choices?.slice(first, first + most).map((choice, row) => (
        <Text key={choice} inverse={first + row === chosen} wrap="truncate-end">
          {`  ${first + row + 1} ${safeText(choice)} `}
        </Text>
      ))}
      {asked.choices === undefined && (
        <Text>
          {`reply> ${safeText(draft, {lines: true})}`}
          <Text inverse> </Text>
        </Text>
      )}
      <Text dimColor wrap="truncate-end">
        {`${asked.choices === undefined ? 'enter send  ctrl-j newline' : `${ascii ? 'up/down' : '↑↓'} or number choose  enter send`}  esc leave${time === '' ? '' : `   ${safeText(time)}`}`}
      </Text>
    </Box>
  );
}
