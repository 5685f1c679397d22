/** Questions to a person: what an agent says beside the prompt, in the event's metadata and in the journal. */
import {integerOf, objectOf, textListOf, textOf, type Doc} from './fields.js';

/** What is said beside the prompt. */
export interface QuestionTerms {
  /** What may be answered; absent for any text. */
  readonly choices?: readonly string[];
  /** The answer when nobody answers in time. */
  readonly default?: string;
}

export interface QuestionText extends QuestionTerms {
  readonly prompt: string;
}

/** What the event of a question says about it. */
export interface AnnouncedQuestion extends QuestionTerms {
  /** What an answer names; '' from a worker of another SDK. */
  readonly questionId: string;
  /** Milliseconds in which it wants to be answered; 0: it waits as long as it takes. */
  readonly withinMs: number;
}

/**
 * The question of a turn whose agent handles each command itself. A turn gets one answer, however much it asked, so all it
 * asked is one question. reply.lua and claim.lua make the same id.
 */
export const turnQuestionId = (executionId: string, attempt: number): string =>
  `ask-${executionId}@${attempt}`;

export function announcedQuestion(metadata: Doc): AnnouncedQuestion {
  return {
    questionId: textOf(metadata['by_question']),
    withinMs: integerOf(metadata['by_answer_within_ms'], 0),
    ...termsOf(metadata['by_choices'], metadata['by_default']),
  };
}

export function questionTextOf(value: unknown): QuestionText {
  const doc = objectOf(value);
  return {prompt: textOf(doc['prompt']), ...termsOf(doc['choices'], doc['default'])};
}

function termsOf(choices: unknown, fallback: unknown): QuestionTerms {
  const listed = textListOf(choices);
  return {
    ...(listed.length === 0 ? {} : {choices: listed}),
    ...(typeof fallback === 'string' ? {default: fallback} : {}),
  };
}
