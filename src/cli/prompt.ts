/** Questions to a person in a terminal. Escape and Ctrl-C leave without an answer. */
import type {Interface} from 'node:readline/promises';
import {safeText} from './safe-text.js';

/** The person left instead of answering. */
export class PromptAborted extends Error {
  override readonly name = 'PromptAborted';
}

export interface TextQuestion {
  readonly question: string;
  readonly initial: string;
  /** @returns What is wrong with the answer, or null. */
  readonly validate?: (answer: string) => string | null;
  /** Aborted when the answer is not wanted any more: then it is as if the person had left. */
  readonly signal?: AbortSignal;
}

/** Asks until the answer is valid; an empty one means the initial value. */
export async function askText({question, initial, validate, signal}: TextQuestion): Promise<string> {
  for (;;) {
    const answer = await ask(
      `${safeText(question)} ${initial === '' ? '' : `(${safeText(initial)}) `}`,
      signal,
    );
    const value = answer.trim() === '' ? initial : answer.trim();
    const problem = validate?.(value) ?? null;
    if (problem === null) return value;
    process.stderr.write(`  ${safeText(problem)}\n`);
  }
}

/** Asks for yes or no; an empty answer means the initial one. */
export async function confirm(question: string, initial: boolean): Promise<boolean> {
  for (;;) {
    const answer = (await ask(`${safeText(question)} ${initial ? '[Y/n]' : '[y/N]'} `)).trim().toLowerCase();
    if (answer === '') return initial;
    if (['y', 'yes'].includes(answer)) return true;
    if (['n', 'no'].includes(answer)) return false;
  }
}

async function ask(prompt: string, signal?: AbortSignal): Promise<string> {
  const {createInterface} = await import('node:readline/promises');
  const readline = createInterface({input: process.stdin, output: process.stderr, terminal: true});
  const abort = new AbortController();
  const leave = () => abort.abort();
  const onKey = (_: string, key: {name?: string} | undefined) => {
    if (key?.name === 'escape') leave();
  };
  // Ctrl-C arrives as an event while readline holds the terminal in raw mode; Ctrl-D closes it.
  readline.once('SIGINT', leave);
  readline.once('close', leave);
  process.stdin.on('keypress', onKey);
  try {
    const gone = signal === undefined ? abort.signal : AbortSignal.any([abort.signal, signal]);
    return await question(readline, prompt, gone);
  } finally {
    process.stdin.removeListener('keypress', onKey);
    readline.removeListener('close', leave);
    readline.close();
  }
}

async function question(readline: Interface, prompt: string, signal: AbortSignal): Promise<string> {
  try {
    return await readline.question(prompt, {signal});
  } catch (cause) {
    process.stderr.write('\n');
    throw new PromptAborted('left without an answer', {cause});
  }
}
