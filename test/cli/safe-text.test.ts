import {describe, expect, test} from 'vitest';
import {safeJson, SafeStream, safeText} from '../../src/cli/safe-text.js';

describe('safeText makes visible what would drive a terminal', () => {
  test.each([
    ['a cursor code', '\u001b[2J', '\\u{1b}[2J'],
    ['a clipboard write (OSC 52)', '\u001b]52;c;cm0gLXJm\u0007', '\\u{1b}]52;c;cm0gLXJm\\u{7}'],
    [
      'a link (OSC 8)',
      '\u001b]8;;https://evil.example\u001b\\ok',
      '\\u{1b}]8;;https://evil.example\\u{1b}\\ok',
    ],
    ['a window title', '\u001b]0;owned\u0007', '\\u{1b}]0;owned\\u{7}'],
    ['C1 CSI', '\u009b31m', '\\u{9b}31m'],
    ['C1 OSC', '\u009d0;x\u009c', '\\u{9d}0;x\\u{9c}'],
    ['a NUL', 'a\0b', 'a\\u{0}b'],
    ['a backspace', 'safe\b\b\b\bevil', 'safe\\u{8}\\u{8}\\u{8}\\u{8}evil'],
    ['DEL', 'a\u007fb', 'a\\u{7f}b'],
    ['a lone carriage return', 'honest\revil', 'honest\\revil'],
    ['a line feed in one line', 'one\nforged: yes', 'one\\nforged: yes'],
    ['a right-to-left override', 'exe\u202egpj.txt', 'exe\\u{202e}gpj.txt'],
    ['a bidi isolate', '\u2066x\u2069', '\\u{2066}x\\u{2069}'],
    ['an Arabic letter mark', 'a\u061cb', 'a\\u{61c}b'],
    ['a zero width space', 'pay\u200bpal', 'pay\\u{200b}pal'],
    ['a zero width joiner between letters', 'pay\u200dpal', 'pay\\u{200d}pal'],
    ['a byte order mark', '\ufeffid', '\\u{feff}id'],
    ['a soft hyphen', 'ad\u00admin', 'ad\\u{ad}min'],
    ['a Hangul filler', 'a\u3164b', 'a\\u{3164}b'],
    ['tag characters that spell a hidden text', '\u{e0068}\u{e0069}', '\\u{e0068}\\u{e0069}'],
    ['variation selectors that carry bytes', 'a\u{e0100}', 'a\\u{e0100}'],
    ['a line separator', 'a\u2028b', 'a\\u{2028}b'],
    ['a lone surrogate', 'a\ud800b', 'a\\u{d800}b'],
  ])('%s', (_, hostile, shown) => {
    expect(safeText(hostile)).toBe(shown);
  });

  test.each([
    ['letters of any script', 'Grüße, 世界, שלום, Привет, สวัสดี'],
    ['emoji made of several', '👩‍👩‍👧 👍🏽 ❤️ 1️⃣ 🏳️‍🌈 🇨🇭'],
    ['joiners of Persian and Hindi', 'می‌خواهم क्‍ष'],
    ['combining marks', 'e\u0301'],
  ])('and leaves alone %s', (_, text) => {
    expect(safeText(text)).toBe(text);
  });

  test('a block keeps its lines and tabs, and Windows line ends become plain ones', () => {
    expect(safeText('a\r\n\tb\rc', {lines: true})).toBe('a\n\tb\\rc');
  });
});

describe('SafeStream', () => {
  const through = (...pieces: string[]) => {
    const stream = new SafeStream();
    return pieces.map(piece => stream.push(piece)).join('') + stream.end();
  };

  test('pieces may cut a text anywhere', () => {
    const text = 'a👩‍👩‍👧b می‌خواهم\r\nc\u001b[1m\u200bd😀';
    const expected = safeText(text, {lines: true});
    expect(through(text)).toBe(expected);
    expect(through(...text.split(''))).toBe(expected);
  });

  test('an escape code cut in two is still one', () => {
    expect(through('\u001b', ']52;c;eA==\u0007')).toBe('\\u{1b}]52;c;eA==\\u{7}');
  });

  test('half a character at the very end is shown as such', () => {
    expect(through('x', '\ud83d')).toBe('x\\u{d83d}');
  });
});

describe('safeJson', () => {
  test('dangerous characters are spelt out, and parsing gives them back', () => {
    const value = {text: 'a\u001b]0;x\u0007\u009b\u202e\u200b\u007f\u{e0068}\nb', 世: '世'};
    const json = safeJson(value);
    expect(json).toMatch(/^[\x20-\x7e世]*$/);
    expect(json).toContain('\\u202e');
    expect(JSON.parse(json)).toEqual(value);
  });

  test('an indented document keeps its own lines', () => {
    expect(safeJson({a: 1}, 2)).toBe('{\n  "a": 1\n}');
  });
});
