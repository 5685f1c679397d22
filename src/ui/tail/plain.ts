/** `by tail` without a screen: one line an event, deltas joined, ready for a pipe. Pure: no terminal, no clock. */
import {clockTime} from '../../cli/time.js';
import {paint, render, textWidth, type Text} from '../../cli/text.js';
import {lineText, type TailEvent, type TailEventType, type TailLine} from './event.js';
import {DeltaMerger} from './merge.js';

export interface PlainOptions {
  readonly timestamps: boolean;
  /** Join the deltas of a message into lines; otherwise each delta is a line. */
  readonly merge?: boolean;
}

const NAMES: Readonly<Record<TailEventType, string>> = {
  answer: 'answer',
  reasoning: 'think',
  state: 'state',
  artifact: 'artifact',
  ask: 'ask',
  final: 'answer',
  end: 'end',
  task: 'task',
  gap: 'gap',
  other: 'other',
};

const AGENT_WIDTH = 12;
const TYPE_WIDTH = 8;

/** One line: time, agent, kind, text in columns. Give it to the printer, which escapes what is untrusted. */
export function plainTailLine({type, ts, agentType, text}: TailLine, {timestamps}: PlainOptions): Text {
  return [
    timestamps ? [paint.dim(clockTime(ts)), '  '] : '',
    padded(agentType === '' ? '-' : agentType),
    '  ',
    paint.dim(NAMES[type].padEnd(TYPE_WIDTH)),
    '  ',
    text.replaceAll('\t', '    '),
  ];
}

const padded = (name: string) => name + ' '.repeat(Math.max(0, AGENT_WIDTH - textWidth(name)));

/** All events as lines, in order; lines that still grow at the end are complete then. */
export async function* plainTail(
  events: AsyncIterable<TailEvent>,
  options: PlainOptions,
): AsyncGenerator<Text> {
  const merger = new DeltaMerger();
  for await (const event of events) {
    const lines = options.merge === false ? [{...event, text: lineText(event)}] : merger.push(event);
    for (const line of lines) yield plainTailLine(line, options);
  }
  for (const line of merger.end()) yield plainTailLine(line, options);
}

/** The same line as a string without colour. */
export const formatPlainTailLine = (line: TailLine, options: PlainOptions): string =>
  render(plainTailLine(line, options), false);
