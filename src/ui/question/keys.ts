/** Ink's keys as those of a question. */
import type {Key as InkKey} from 'ink';
import type {Key} from './state.js';

export function toKey(input: string, key: InkKey): Key {
  // ctrl-j is a line feed, which Ink hands on as text.
  if (input === '\n' || (key.ctrl && input === 'j')) return {name: 'newline', input: ''};
  if (key.ctrl) return {name: input === 'c' ? 'ctrl-c' : 'text', input: ''};
  if (key.return) return {name: 'return', input: ''};
  if (key.escape) return {name: 'escape', input: ''};
  if (key.upArrow) return {name: 'up', input: ''};
  if (key.downArrow) return {name: 'down', input: ''};
  // Terminals differ in which of the two the key sends.
  if (key.backspace || key.delete) return {name: 'backspace', input: ''};
  return {name: 'text', input};
}
