/** Ink's keys as our screens know them. */
import type {Key as InkKey} from 'ink';
import type {Key} from './state.js';

/** What was typed and then sent, in one piece: so it arrives over a slow line. A paste of several lines is text. */
const SENT = /^([^\r\n]+)\r$/;

export function toKeys(input: string, key: InkKey): Key[] {
  const [, typed] = SENT.exec(input) ?? [];
  if (typed === undefined) return [toKey(input, key)];
  return [
    {name: 'text', input: typed},
    {name: 'return', input: ''},
  ];
}

function toKey(input: string, key: InkKey): Key {
  // ctrl-j is a line feed, which Ink hands on as text.
  if (input === '\n' || (key.ctrl && input === 'j')) return {name: 'newline', input: ''};
  if (key.ctrl) return {name: input === 'c' ? 'ctrl-c' : 'text', input: ''};
  if (key.return) return {name: 'return', input: ''};
  if (key.escape) return {name: 'escape', input: ''};
  if (key.upArrow) return {name: 'up', input: ''};
  if (key.downArrow) return {name: 'down', input: ''};
  if (key.tab) return {name: 'tab', input: ''};
  // Terminals differ in which of the two the key sends.
  if (key.backspace || key.delete) return {name: 'backspace', input: ''};
  return {name: 'text', input};
}
