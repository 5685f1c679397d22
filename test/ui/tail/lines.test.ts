import {describe, expect, test} from 'vitest';
import {formatTailLine, type TailEvent} from '../../../src/ui/tail/event.js';
import {formatPlainTailLine, plainTail} from '../../../src/ui/tail/plain.js';
import {render} from '../../../src/cli/text.js';
import {event} from './events.js';

const options = {timestamps: false, agentWidth: 12, color: false, ascii: false};

describe('a line of the screen', () => {
  test.each([
    [event('answer', 'Bonjour'), 'translator     Bonjour'],
    [event('state', 'STARTING'), 'translator   ▸ STARTING'],
    [event('reasoning', 'hm'), 'translator   ~ hm'],
    [event('artifact', 'out.json'), 'translator   ◆ artifact out.json'],
    [event('ask', 'Approve?'), 'translator   ? Approve?'],
    [event('answer', 'x', {agentType: '翻译'}), '翻译           x'],
    [event('gap', 'events were removed', {agentType: ''}), '-            ‼ gap events were removed'],
  ])('%#', (one, line) => {
    expect(formatTailLine(one, options)).toBe(line);
  });

  test('carries nothing that drives the terminal, except our own colours', () => {
    const hostile = event('answer', 'a\u001b]52;c;eA==\u0007\u009b2J\u202e\rb\tc', {
      agentType: 'evil\u001b[2J',
    });
    const line = formatTailLine(hostile, {...options, color: true, timestamps: true});
    expect(line.replace(/\u001b\[\d+m/g, '')).toMatch(/^[\x20-\x7e]+$/);
    expect(formatTailLine(hostile, options)).toBe(
      'evil\\u{1b}[2J   a\\u{1b}]52;c;eA==\\u{7}\\u{9b}2J\\u{202e}\\rb    c',
    );
  });
});

describe('plain lines', () => {
  test('have columns for agent, kind and text', () => {
    expect(formatPlainTailLine(event('reasoning', 'hm'), {timestamps: false})).toBe(
      'translator    think     hm',
    );
    expect(formatPlainTailLine(event('state', 'DONE'), {timestamps: true})).toMatch(
      /^\d\d:\d\d:11\.640 {2}translator {4}state {5}DONE$/,
    );
  });

  const lines = async (events: TailEvent[], merge: boolean) => {
    async function* source() {
      yield* events;
    }
    const shown: string[] = [];
    for await (const line of plainTail(source(), {timestamps: false, merge})) shown.push(render(line, false));
    return shown.map(line => line.replace(/\s+/g, ' '));
  };

  test('join deltas, unless told not to', async () => {
    const events = [event('answer', 'Bon'), event('answer', 'jour'), event('state', 'COMPLETED')];
    expect(await lines(events, true)).toEqual(['translator answer Bonjour', 'translator state COMPLETED']);
    expect(await lines(events, false)).toHaveLength(3);
    expect(await lines([event('answer', 'no end')], true)).toEqual(['translator answer no end']);
  });
});
