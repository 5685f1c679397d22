/** `--set path=value` and `--unset path`. */
import type {Edit} from '../availability/edit-command.js';
import {ByError} from '../errors.js';

/** @throws {ByError} USAGE for a --set without a value. */
export function readEdits(set: readonly string[], unset: readonly string[]): Edit[] {
  return [...set.map(readSet), ...unset.map(path => ({path, value: undefined}))];
}

function readSet(text: string): Edit {
  const at = text.indexOf('=');
  if (at > 0) return {path: text.slice(0, at), value: readValue(text.slice(at + 1))};
  throw new ByError('USAGE', `--set "${text}" names no value.`, {
    hint: 'Write it as path=value, for example --set body.content=Hi.',
  });
}

/** JSON where it is some, so that numbers, lists and null can be written; text as it stands otherwise. */
function readValue(text: string): unknown {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return text;
  }
}
