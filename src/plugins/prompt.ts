/** Prompts: text with `{{names}}` in it, which are filled in and never run. */
import {ByError} from '../errors.js';

/** A prompt whose variables have defaults. */
export interface PromptTemplate {
  readonly text: string;
  /** Values of variables that a caller may leave out. */
  readonly defaults?: Readonly<Record<string, string>>;
}

export type Prompt = string | PromptTemplate;

/** Text, numbers and booleans as they are; anything else as JSON. */
export type PromptVariables = Readonly<Record<string, unknown>>;

const VARIABLE = /\{\{\s*([A-Za-z_][A-Za-z0-9_]*)\s*\}\}/g;

/** Names of the variables of a prompt, each once, in their order. */
export function promptVariables(prompt: Prompt): string[] {
  return [...new Set([...textOf(prompt).matchAll(VARIABLE)].map(match => match[1] ?? ''))];
}

/**
 * Fill in a prompt. What a variable brings is not looked at again, so `{{…}}` in it stays. Variables the prompt does not
 * have are no mistake.
 * @throws {ByError} INVALID_INPUT if a variable has neither a value nor a default; null and undefined are no values.
 */
export function renderPrompt(name: string, prompt: Prompt, variables: PromptVariables = {}): string {
  const defaults = typeof prompt === 'string' ? {} : (prompt.defaults ?? {});
  const given = (of: Readonly<Record<string, unknown>>, variable: string) =>
    Object.hasOwn(of, variable) ? of[variable] : undefined;
  const missing = promptVariables(prompt).filter(
    variable => (given(variables, variable) ?? given(defaults, variable) ?? undefined) === undefined,
  );
  if (missing.length > 0) {
    const list = missing.map(variable => `"${variable}"`).join(', ');
    throw new ByError('INVALID_INPUT', `The prompt "${name}" lacks ${list}.`, {
      hint: `Give it: ctx.prompt('${name}', {${missing.map(variable => `${variable}: …`).join(', ')}}).`,
      details: {prompt: name, missing},
    });
  }
  return textOf(prompt).replaceAll(VARIABLE, (_, variable: string) =>
    asText(given(variables, variable) ?? given(defaults, variable)),
  );
}

const textOf = (prompt: Prompt): string => (typeof prompt === 'string' ? prompt : prompt.text);

const asText = (value: unknown): string => (typeof value === 'string' ? value : JSON.stringify(value));
