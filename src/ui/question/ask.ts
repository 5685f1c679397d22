/** Asking the person at this terminal what an agent wants to know. Imports Ink only when it is shown. */
import type {AskPerson} from '../../cli/run-reply.js';
import {askText, PromptAborted} from '../../cli/prompt.js';
import type {Printer} from '../../cli/printer.js';
import {promptOf, showQuestion, termsText} from '../../cli/question-text.js';
import type {Terminal} from '../../cli/tty.js';
import {systemClock} from '../../clock.js';
import {loadScreen, renderOptions, type ScreenStreams} from '../terminal.js';

/** How the person is asked: with keys where the terminal can show them, else line by line. */
export function personAt(terminal: Terminal, printer: Printer, streams: ScreenStreams = process): AskPerson {
  return async (question, {leftMs, signal}) => {
    printer.endStream();
    if (signal.aborted) return undefined;
    if (!terminal.canShowScreen) return askInLine(printer, question, {leftMs, signal});
    const [ink, {createElement}, {QuestionApp}] = await loadScreen(() =>
      Promise.all([import('ink'), import('react'), import('./app.js')]),
    );
    let answer: string | undefined;
    const app = ink.render(
      createElement(QuestionApp, {
        asked: {...question, prompt: promptOf(question)},
        ...{leftMs, ascii: terminal.ascii, clock: systemClock, closing: signal},
        onEnd: (given: string | undefined) => (answer = given),
      }),
      renderOptions(streams),
    );
    try {
      await app.waitUntilExit();
    } finally {
      app.unmount();
    }
    // The screen is gone; what was asked and answered stays to be read.
    showQuestion(printer, {...question, dueAt: 0}, 0);
    return answer;
  };
}

const askInLine = async (
  printer: Printer,
  question: Parameters<AskPerson>[0],
  {leftMs, signal}: Parameters<AskPerson>[1],
): Promise<string | undefined> => {
  showQuestion(printer, {...question, dueAt: 0}, 0);
  const {choices} = question;
  try {
    return await askText({
      question: termsText(question, leftMs) || 'reply>',
      initial: '',
      signal,
      validate: answer => {
        if (answer === '') return 'Type an answer; escape leaves.';
        return choices === undefined || choices.includes(answer) ? null : `One of: ${choices.join(', ')}`;
      },
    });
  } catch (error) {
    if (error instanceof PromptAborted) return undefined;
    throw error;
  }
};
