import {render} from 'ink-testing-library';
import {afterEach, describe, expect, test, vi} from 'vitest';
import {TailApp} from '../../../src/ui/tail/app.js';
import {TailFeed} from '../../../src/ui/tail/feed.js';
import {event} from './events.js';

let unmount: (() => void) | null = null;
afterEach(() => {
  unmount?.();
});

function open() {
  const feed = new TailFeed();
  const app = render(
    <TailApp
      session="sess-1"
      feed={feed}
      timestamps={false}
      color={false}
      ascii={false}
      clock={() => Date.now()}
      ended={new Promise(() => undefined)}
      closing={new AbortController().signal}
    />,
  );
  unmount = app.unmount;
  const everything = () => app.frames.join('\n');
  return {
    feed,
    press: (keys: string) => app.stdin.write(keys),
    frame: () => app.lastFrame() ?? '',
    everything,
    shows: (text: string) => vi.waitFor(() => expect(app.lastFrame()).toContain(text), {timeout: 20_000}),
    wrote: (text: string) => vi.waitFor(() => expect(everything()).toContain(text), {timeout: 20_000}),
  };
}

describe('the tail screen', () => {
  test('writes lines as they come, shows those that still grow, and counts', async () => {
    const app = open();
    app.feed.push(event('state', 'STARTING'));
    app.feed.push(event('answer', 'Bonj'));
    await app.wrote('translator ▸ STARTING');
    await app.shows('translator   Bonj');
    await app.shows('● live sess-1  1 agent  2 ev');
    app.feed.push(event('answer', 'our\n'));
    await app.wrote('translator   Bonjour\n');
  });

  test('pauses, counts what is new below, and shows it when it goes on', async () => {
    const app = open();
    await app.shows('live');
    app.press(' ');
    await app.shows('❚❚ paused');
    app.feed.push(event('state', 'ONE'));
    app.feed.push(event('state', 'TWO'));
    await app.shows('2 new below');
    expect(app.everything()).not.toContain('▸ ONE');
    app.press(' ');
    await app.wrote('▸ ONE');
  });

  test('filters what comes and repeats what it had that fits', async () => {
    const app = open();
    app.feed.push(event('state', 'apple'));
    app.feed.push(event('state', 'pear'));
    await app.wrote('▸ pear');
    app.press('/');
    await app.shows('filter>');
    app.press('app');
    await app.shows('filter> app');
    app.press('\r');
    await app.wrote('── lines with "app"');
    await app.shows('filter: app');
    app.feed.push(event('state', 'plum'));
    app.feed.push(event('state', 'apple pie'));
    await app.wrote('▸ apple pie');
    expect(app.everything()).not.toContain('▸ plum');
  });
});
