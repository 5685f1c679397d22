/** One event of a session, and how it looks as a line. Pure: no terminal, no clock. */
import type {TailEvent} from '../../observe/tail-event.js';
import {termsText} from '../../cli/question-text.js';
import {clockTime} from '../../cli/time.js';
import {paint, render, textWidth, type Text} from '../../cli/text.js';

export type {TailEvent};
export type TailEventType = TailEvent['type'];

/** One line to show: an event, or one line of what several events of a message add up to. */
export interface TailLine {
  readonly type: TailEventType;
  /** Stream id of the newest event that is in the line. */
  readonly id: string;
  readonly ts: number;
  readonly agentType: string;
  readonly messageId: string;
  /** Without line feeds; still untrusted. */
  readonly text: string;
}

export interface LineOptions {
  readonly timestamps: boolean;
  /** Columns the agent's name is padded to. */
  readonly agentWidth: number;
  readonly color: boolean;
  readonly ascii: boolean;
}

const SIGNS: Readonly<Record<TailEventType, readonly [unicode: string, ascii: string]>> = {
  answer: [' ', ' '],
  final: [' ', ' '],
  reasoning: ['~', '~'],
  state: ['▸', '>'],
  artifact: ['◆ artifact', '# artifact'],
  ask: ['?', '?'],
  task: ['⤷', '->'],
  end: ['■', '.'],
  gap: ['‼ gap', '!! gap'],
  other: ['·', '-'],
};

const AGENT_COLORS = ['cyan', 'magenta', 'green', 'blue', 'yellow'] as const;

/** What an event says, and of a question what may be answered, until when, and what happens then. */
export const lineText = ({text, question}: TailEvent): string =>
  question === undefined
    ? text
    : [text, termsText(question, question.withinMs)].filter(part => part !== '').join('  ');

/** @returns The line for a terminal, everything untrusted in it escaped. */
export function formatTailLine(line: TailLine, options: LineOptions): string {
  return render(tailText(line, options), options.color);
}

/** The same before it is rendered. */
export function tailText({type, ts, agentType, text}: TailLine, options: LineOptions): Text {
  const sign = SIGNS[type][options.ascii ? 1 : 0];
  const name = agentType === '' ? '-' : agentType;
  const padding = ' '.repeat(Math.max(0, options.agentWidth - textWidth(name)));
  return [
    options.timestamps ? [paint.dim(clockTime(ts)), ' '] : '',
    paint[agentColor(name)](name),
    padding,
    ' ',
    styleOf(type, `${sign} ${expandTabs(text)}`),
  ];
}

function styleOf(type: TailEventType, text: string): Text {
  switch (type) {
    case 'answer':
    case 'final':
      return text;
    case 'reasoning':
    case 'other':
      return paint.dim(text);
    case 'state':
    case 'task':
    case 'end':
      return paint.gray(text);
    case 'artifact':
      return paint.cyan(text);
    case 'ask':
      return paint.bold(paint.yellow(text));
    case 'gap':
      return paint.red(text);
  }
}

/** The same colour for the same name, in every session. */
function agentColor(name: string): (typeof AGENT_COLORS)[number] {
  let hash = 0;
  for (const unit of name.slice(0, 64)) hash = (hash * 31 + (unit.codePointAt(0) ?? 0)) >>> 0;
  return AGENT_COLORS[hash % AGENT_COLORS.length] ?? 'cyan';
}

/** Tabs would be shown as `\t` where a line is one line; in code they are layout. */
const expandTabs = (text: string) => text.replaceAll('\t', '    ');
