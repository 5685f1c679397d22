import {render} from 'ink-testing-library';
import {afterEach, describe, expect, test, vi} from 'vitest';
import {QuestionApp} from '../../src/ui/question/app.js';
import {toKeys} from '../../src/ui/question/keys.js';
import {answerOf, initialState, reduce, type Asked, type Key} from '../../src/ui/question/state.js';

const NAMES = ['return', 'newline', 'escape', 'backspace', 'up', 'down', 'ctrl-c'] as const;
const keyOf = (input: string): Key => {
  const name = NAMES.find(special => special === input) ?? 'text';
  return {name, input: name === 'text' ? input : ''};
};
const press = (asked: Asked, ...inputs: string[]) => inputs.map(keyOf).reduce(reduce, initialState(asked));

const TEXT: Asked = {agentType: 'deployer', prompt: 'Where?'};
const CHOICES: Asked = {...TEXT, choices: ['yes', 'no', 'later'], default: 'no'};

describe('an answer', () => {
  test('is typed, over several lines, and sent by return', () => {
    const state = press(TEXT, 'on', 'x', 'backspace', 'newline', 'stag', 'ing', 'return');
    expect({outcome: state.outcome, answer: answerOf(state)}).toEqual({
      outcome: 'answered',
      answer: 'on\nstaging',
    });
  });

  test('is not sent while it is empty, and escape leaves', () => {
    expect(press(TEXT, ' ', 'return').outcome).toBe('open');
    expect(press(TEXT, 'a', 'escape').outcome).toBe('left');
    expect(press(TEXT, 'ctrl-c').outcome).toBe('left');
  });

  test('brings no control codes of a paste, but its line ends', () => {
    expect(answerOf(press(TEXT, 'a\u001b[2J\r\nb\u0007'))).toBe('a[2J\nb');
  });

  test('is one of the choices, beginning with the default, by arrows or number', () => {
    expect(answerOf(press(CHOICES))).toBe('no');
    expect(answerOf(press(CHOICES, 'down', 'down'))).toBe('yes');
    expect(answerOf(press(CHOICES, 'up', 'up'))).toBe('later');
    expect(answerOf(press(CHOICES, '3', '9', 'x'))).toBe('later');
  });
});

test('text and the return behind it may arrive in one piece; a paste of lines stays text', () => {
  const none = {} as Parameters<typeof toKeys>[1];
  expect(toKeys('yes\r', none).map(({name}) => name)).toEqual(['text', 'return']);
  expect(toKeys('a\rb\r', none)).toEqual([{name: 'text', input: 'a\rb\r'}]);
});

describe('the screen of a question', () => {
  let unmount: (() => void) | null = null;
  afterEach(() => unmount?.());

  function open(asked: Asked, leftMs = 0) {
    const ended: (string | undefined)[] = [];
    const closing = new AbortController();
    const app = render(
      <QuestionApp
        asked={asked}
        leftMs={leftMs}
        ascii={false}
        clock={() => 0}
        closing={closing.signal}
        onEnd={answer => ended.push(answer)}
      />,
    );
    unmount = app.unmount;
    const shows = (text: string) =>
      vi.waitFor(() => expect(app.lastFrame()).toContain(text), {timeout: 20_000});
    return {ended, closing, shows, press: (keys: string) => app.stdin.write(keys)};
  }

  test('shows what is asked, the choices, and what happens without an answer', async () => {
    const app = open(CHOICES, 300_000);
    await app.shows('deployer asks: Where?');
    await app.shows('2 no');
    await app.shows('(answer within 5m, then: no)');
    app.press('1');
    app.press('\r');
    await vi.waitFor(() => expect(app.ended).toEqual(['yes']), {timeout: 20_000});
  });

  test('escapes what the agent says', async () => {
    const app = open({...TEXT, prompt: 'a\u001b]52;c;x\u0007b'});
    await app.shows('a\\u{1b}]52;c;x\\u{7}b');
  });

  test('closes when nobody waits for the answer any more', async () => {
    const app = open(TEXT);
    await app.shows('reply>');
    app.closing.abort();
    await vi.waitFor(() => expect(app.ended).toEqual([undefined]), {timeout: 20_000});
  });
});
