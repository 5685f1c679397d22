import {expect, test} from 'vitest';
import {parseMockScript} from '../../src/cli/mock-script.js';

test('a script has a step on each line: who, what, after how long', () => {
  const text = '# an outage\nready\n\n  ocr=fail 200ms  # slow\na:b=fallback:other\r\nflaky:0.5 1s';
  expect(parseMockScript(text, 'f')).toEqual([
    {mode: {kind: 'ready'}},
    {mode: {kind: 'fail'}, agentType: 'ocr', delayMs: 200},
    {mode: {kind: 'fallback', agentType: 'other'}, agentType: 'a:b'},
    {mode: {kind: 'flaky', probability: 0.5}, delayMs: 1000},
  ]);
});

test.each([
  ['', /has no step/],
  ['ready\nbroken', /f, line 2: "broken" is no mode/],
  ['ready 5', /line 1: "5" is not a duration/],
  ['ready 5s more', /line 1: "more" is too much/],
  ['=ready', /line 1: "" is no agent type/],
  ['script:other', /line 1: "script:other" is no mode/],
])('is refused by its line: %j', (text, message) => {
  expect(() => parseMockScript(text, 'f')).toThrow(message);
});
