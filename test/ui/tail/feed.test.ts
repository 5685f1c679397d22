import {describe, expect, test} from 'vitest';
import {TailFeed, type Selection} from '../../../src/ui/tail/feed.js';
import {event} from './events.js';

const everything: Selection = {text: '', types: null, agentType: null};

describe('the feed', () => {
  test('hands each line out once', () => {
    const feed = new TailFeed();
    feed.push(event('state', 'one'));
    feed.push(event('state', 'two'));
    expect(feed.unseen).toBe(2);
    expect(feed.take(everything)).toMatchObject({lines: [{text: 'one'}, {text: 'two'}], lost: 0});
    expect(feed.take(everything)).toEqual({lines: [], lost: 0});
  });

  test('selects by text, by kind and by agent', () => {
    const feed = new TailFeed();
    feed.push(event('state', 'RUNNING', {agentType: 'ocr'}));
    feed.push(event('artifact', 'out.json', {agentType: 'ocr'}));
    feed.push(event('artifact', 'Out.pdf', {agentType: 'translator'}));
    feed.take(everything);
    const shown = (selection: Partial<Selection>) =>
      feed.recent({...everything, ...selection}, 10).map(line => line.text);
    expect(shown({text: 'out'})).toEqual(['out.json', 'Out.pdf']);
    expect(shown({types: ['state']})).toEqual(['RUNNING']);
    expect(shown({agentType: 'translator'})).toEqual(['Out.pdf']);
    expect(shown({text: 'ocr', types: ['artifact']})).toEqual(['out.json']);
    expect(feed.recent(everything, 1)).toMatchObject([{text: 'Out.pdf'}]);
  });

  test('knows where to go on: at the last event that was taken, not at the last one read', () => {
    const feed = new TailFeed();
    feed.push(event('state', 'one', {id: '1-0'}));
    feed.take(everything);
    feed.push(event('state', 'two', {id: '2-0'}));
    expect(feed.lastTakenId).toBe('1-0');
  });

  test('stays within its limits in a flood, and says how much it could not keep', () => {
    const feed = new TailFeed();
    const flood = 60_000;
    for (let at = 0; at < flood; at++) {
      feed.push(
        event('answer', `line ${at}\n`, {messageId: `msg-${at % 3000}`, agentType: `agent-${at % 500}`}),
      );
    }
    expect(feed.size).toBe(10_000);
    expect(feed.agents).toHaveLength(100);
    expect(feed.partials(everything)).toHaveLength(0);
    expect(feed.events).toBe(flood);
    const {lines, lost} = feed.take(everything);
    expect(lines).toHaveLength(10_000);
    expect(lost).toBe(50_000);
    expect(lines.at(-1)?.text).toBe(`line ${flood - 1}`);
  });
});
