import {expect, test} from 'vitest';
import {promptVariables, renderPrompt} from '../../src/plugins/prompt.js';

test('variables are filled in, defaults where nothing is given', () => {
  const prompt = {text: 'Write {{ tone }} to {{name}}, {{name}}: {{facts}}.', defaults: {tone: 'kindly'}};
  expect(promptVariables(prompt)).toEqual(['tone', 'name', 'facts']);
  expect(renderPrompt('letter', prompt, {name: 'Ann', facts: {n: 1}, unused: 1})).toBe(
    'Write kindly to Ann, Ann: {"n":1}.',
  );
});

test('a missing variable is named, with how to give it; null is no value', () => {
  expect(() => renderPrompt('letter', '{{a}} {{b}} {{c}}', {b: 'x', c: null})).toThrow(
    expect.objectContaining({
      code: 'INVALID_INPUT',
      message: 'The prompt "letter" lacks "a", "c".',
      hint: "Give it: ctx.prompt('letter', {a: …, c: …}).",
    }),
  );
});

test('nothing in a prompt or in a value is run or looked at twice, and prototypes bring no values', () => {
  expect(renderPrompt('p', '${1+1} {{x}} $& {{ not-a-name }} {{{x}}}', {x: '$& {{x}} ${y}'})).toBe(
    '${1+1} $& {{x}} ${y} $& {{ not-a-name }} {$& {{x}} ${y}}',
  );
  expect(() => renderPrompt('p', '{{constructor}}')).toThrow('lacks "constructor"');
});
