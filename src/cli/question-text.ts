/** Questions of agents, as people are shown them. */
import type {OpenQuestion} from '../availability/questions.js';
import type {QuestionTerms} from '../protocol/question.js';
import {formatDuration} from './duration.js';
import {paint, type Printer} from './printer.js';

/** What may be answered, until when, and what happens then; '' if nothing is said. @param leftMs 0 as long as it takes. */
export function termsText({choices, default: fallback}: QuestionTerms, leftMs: number): string {
  return [choices === undefined ? '' : `[${choices.join('/')}]`, timeText(fallback, leftMs)]
    .filter(part => part !== '')
    .join('  ');
}

/** `(answer within 5m, then: no)`; '' as long as it takes. */
export function timeText(fallback: string | undefined, leftMs: number): string {
  if (leftMs === 0) return '';
  const then = fallback === undefined ? '' : `, then: ${fallback}`;
  return `(answer within ${formatDuration(leftMs)}${then})`;
}

/** Milliseconds a question still has; 0 as long as it takes. @param nowMs by Redis's clock. */
export const leftMs = ({dueAt}: OpenQuestion, nowMs: number): number =>
  dueAt === 0 ? 0 : Math.max(1, dueAt - nowMs);

/** A question, in as many lines as it has. */
export function showQuestion(printer: Printer, question: OpenQuestion, nowMs: number): void {
  const [first = '', ...rest] = promptOf(question).split(/\r?\n/);
  printer.out(paint.yellow('? '), paint.bold(question.agentType), ' asks: ', first);
  for (const line of rest) printer.out('  ', line);
  const terms = termsText(question, leftMs(question, nowMs));
  printer.out(paint.dim(`  ${[terms, question.executionId].filter(part => part !== '').join('  ')}`));
}

export const promptOf = ({prompt}: Pick<OpenQuestion, 'prompt'>): string =>
  prompt === '' ? '(its text is not kept any more)' : prompt;
