import {describe, expect, test} from 'vitest';
import {DeltaMerger} from '../../../src/ui/tail/merge.js';
import {event} from './events.js';

describe('the deltas of a message', () => {
  test('grow into lines, which are handed out at a line feed', () => {
    const merger = new DeltaMerger();
    expect(merger.push(event('answer', 'Bon'))).toEqual([]);
    expect(merger.push(event('answer', 'jour\r\ncom'))).toMatchObject([{text: 'Bonjour'}]);
    expect(merger.partials).toMatchObject([{text: 'com'}]);
    expect(merger.end()).toMatchObject([{text: 'com'}]);
    expect(merger.end()).toEqual([]);
  });

  test('keep the time of their first and the id of their last', () => {
    const merger = new DeltaMerger();
    merger.push(event('answer', 'a', {ts: 1, id: '1-0'}));
    expect(merger.push(event('answer', 'b\n', {ts: 2, id: '2-0'}))).toMatchObject([
      {text: 'ab', ts: 1, id: '2-0'},
    ]);
  });

  test('come before whatever else the message says', () => {
    const merger = new DeltaMerger();
    merger.push(event('reasoning', 'thinking'));
    expect(merger.push(event('answer', 'Bonjour'))).toMatchObject([{type: 'reasoning', text: 'thinking'}]);
    expect(merger.push(event('state', 'COMPLETED'))).toMatchObject([{text: 'Bonjour'}, {text: 'COMPLETED'}]);
  });

  test('do not mix with those of another message', () => {
    const merger = new DeltaMerger();
    merger.push(event('answer', 'one', {messageId: 'msg-1'}));
    merger.push(event('answer', 'two', {messageId: 'msg-2'}));
    expect(merger.push(event('answer', '!\n', {messageId: 'msg-1'}))).toMatchObject([{text: 'one!'}]);
    expect(merger.partials).toMatchObject([{text: 'two'}]);
  });

  test('are not repeated by the final answer, which is shown when there were none', () => {
    const streamed = new DeltaMerger();
    streamed.push(event('answer', 'Bonjour'));
    expect(streamed.push(event('final', 'Bonjour'))).toMatchObject([{type: 'answer', text: 'Bonjour'}]);
    expect(new DeltaMerger().push(event('final', 'Bonjour\nMonde\n'))).toMatchObject([
      {text: 'Bonjour'},
      {text: 'Monde'},
    ]);
  });
});

test('memory stays bounded: long lines are broken, and few messages grow at once', () => {
  const merger = new DeltaMerger();
  let lines = merger.push(event('answer', 'x'.repeat(100_000))).length;
  for (let message = 0; message < 5000; message++) {
    lines += merger.push(event('answer', 'y', {messageId: `msg-${message}`})).length;
  }
  expect(merger.partials.length).toBeLessThanOrEqual(64);
  expect(Math.max(...merger.partials.map(line => line.text.length))).toBeLessThanOrEqual(4000);
  expect(lines + merger.partials.length).toBe(25 + 5000);
});
