import {PassThrough} from 'node:stream';
import xterm from '@xterm/headless';
import {expect, test, vi} from 'vitest';
import type {TailEvent} from '../../../src/ui/tail/event.js';
import {runTailScreen} from '../../../src/ui/tail/screen.js';
import type {ScreenStreams} from '../../../src/ui/terminal.js';
import {event} from './events.js';

/** A terminal whose screen can be read after its codes were carried out. */
function fakeTerminal({columns, rows}: {columns: number; rows: number}) {
  const terminal = new xterm.Terminal({cols: columns, rows, allowProposedApi: true, convertEol: true});
  const stdout = Object.assign(new PassThrough(), {columns, rows, isTTY: true});
  stdout.on('data', (chunk: Buffer) => terminal.write(chunk));
  const stdin = Object.assign(new PassThrough(), {
    isTTY: true,
    setRawMode: () => stdin,
    ref: () => stdin,
    unref: () => stdin,
  });
  const screen = () => {
    const lines: string[] = [];
    const buffer = terminal.buffer.active;
    for (let at = 0; at < buffer.length; at++) lines.push(buffer.getLine(at)?.translateToString(true) ?? '');
    return lines.join('\n').trimEnd();
  };
  return {
    streams: {stdin, stdout, stderr: new PassThrough()} as unknown as ScreenStreams,
    press: (keys: string) => stdin.write(keys),
    screen,
    shows: (text: string) => vi.waitFor(() => expect(screen()).toContain(text), {timeout: 20_000}),
  };
}

const options = {session: 'sess-1', timestamps: false, color: true, onQuit: () => undefined};

test('the screen: events in the scrollback, one footer below them, nothing left when the events end', async () => {
  const terminal = fakeTerminal({columns: 60, rows: 12});
  let finish: (value?: undefined) => void = () => undefined;
  const finished = new Promise<undefined>(resolve => {
    finish = resolve;
  });
  async function* events(): AsyncGenerator<TailEvent> {
    yield event('state', 'STARTING');
    for (let at = 1; at <= 30; at++) yield event('answer', `Zeile ${at} 世界\n`);
    yield event('answer', 'it ends with \u001b]0;owned\u0007');
    await finished;
  }
  const running = runTailScreen({
    ...options,
    events: events(),
    signal: new AbortController().signal,
    streams: terminal.streams,
  });
  await terminal.shows('Zeile 30 世界');
  await terminal.shows('it ends with \\u{1b}]0;owned\\u{7}');
  await terminal.shows('● live sess-1  1 agent  32 ev');
  // The terminal takes in what it is sent in pieces.
  await vi.waitFor(() => expect(terminal.screen().endsWith('q quit')).toBe(true), {timeout: 20_000});
  const live = terminal.screen();
  expect(live.split('● live')).toHaveLength(2);
  expect(live.indexOf('STARTING')).toBeLessThan(live.indexOf('Zeile 1 '));
  for (let at = 1; at <= 30; at++) expect(live.split(`Zeile ${at} `)).toHaveLength(2);

  finish();
  expect(await running).toEqual({
    lastId: expect.stringMatching(/^1716123731640-\d+$/) as string,
    reason: 'ended',
  });
  await vi.waitFor(
    () => expect(terminal.screen().endsWith('it ends with \\u{1b}]0;owned\\u{7}')).toBe(true),
    {timeout: 20_000},
  );
  expect(terminal.screen()).not.toContain('q quit');
});

test('q closes it, stops the events and says where to go on', async () => {
  const terminal = fakeTerminal({columns: 60, rows: 12});
  const stop = new AbortController();
  async function* events(): AsyncGenerator<TailEvent> {
    yield event('state', 'STARTING', {id: '7-1'});
    await new Promise<void>(resolve => stop.signal.addEventListener('abort', () => resolve()));
    throw new Error('the reader was stopped');
  }
  const running = runTailScreen({
    ...options,
    events: events(),
    signal: new AbortController().signal,
    onQuit: () => stop.abort(),
    streams: terminal.streams,
  });
  await terminal.shows('STARTING');
  terminal.press('q');
  expect(await running).toEqual({lastId: '7-1', reason: 'quit'});
});

test('an error of the events is thrown, after the terminal was given back', async () => {
  const terminal = fakeTerminal({columns: 60, rows: 12});
  async function* events(): AsyncGenerator<TailEvent> {
    yield event('state', 'STARTING');
    throw new Error('Redis went away');
  }
  const running = runTailScreen({
    ...options,
    events: events(),
    signal: new AbortController().signal,
    streams: terminal.streams,
  });
  await expect(running).rejects.toThrow('Redis went away');
  await terminal.shows('STARTING');
  await vi.waitFor(() => expect(terminal.screen()).not.toContain('q quit'), {timeout: 20_000});
});

test('the signal closes it like q', async () => {
  const terminal = fakeTerminal({columns: 60, rows: 12});
  const closing = new AbortController();
  async function* events(): AsyncGenerator<TailEvent> {
    yield event('state', 'STARTING');
    await new Promise(() => undefined);
  }
  const running = runTailScreen({
    ...options,
    events: events(),
    signal: closing.signal,
    streams: terminal.streams,
  });
  await terminal.shows('STARTING');
  closing.abort();
  expect((await running).reason).toBe('quit');
});
