/** The tail screen under a flood of events: how long it holds up the event loop, and what it keeps in memory. */
import {Writable} from 'node:stream';
import {PassThrough} from 'node:stream';
import {monitorEventLoopDelay} from 'node:perf_hooks';
import type {TailEvent} from '../src/observe/tail-event.js';

export interface TailFigures {
  readonly events: number;
  readonly maxLagMs: number;
  readonly heapMb: number;
}

/** A terminal that shows nothing: what is written to it is counted and forgotten. */
class FakeTerminal extends Writable {
  readonly isTTY = true;
  readonly columns = 120;
  readonly rows = 40;
  override _write(_chunk: unknown, _encoding: string, done: () => void): void {
    done();
  }
}

class FakeKeyboard extends PassThrough {
  readonly isTTY = true;
  setRawMode(): this {
    return this;
  }
  ref(): this {
    return this;
  }
  unref(): this {
    return this;
  }
}

export async function tailUnderFlood(perSecond: number, seconds: number): Promise<TailFigures> {
  const {runTailScreen} = await import('../src/ui/tail/screen.js');
  const stop = new AbortController();
  let events = 0;
  async function* flood(): AsyncGenerator<TailEvent> {
    const startedAt = performance.now();
    while (!stop.signal.aborted) {
      const due = ((performance.now() - startedAt) / 1000) * perSecond;
      while (events < due) yield event(events++);
      await new Promise(resolve => setTimeout(resolve, 5));
    }
  }
  const stdout = new FakeTerminal();
  const streams = {stdin: new FakeKeyboard(), stdout, stderr: stdout};
  const screen = runTailScreen({
    events: flood(),
    session: 'flood',
    signal: stop.signal,
    onQuit: () => undefined,
    streams: streams as unknown as NonNullable<Parameters<typeof runTailScreen>[0]['streams']>,
  });
  // Loading the screen is not showing events.
  await new Promise(resolve => setTimeout(resolve, 1000));
  const delay = monitorEventLoopDelay({resolution: 5});
  delay.enable();
  const before = events;
  await new Promise(resolve => setTimeout(resolve, seconds * 1000));
  delay.disable();
  const shown = events - before;
  const heapMb = process.memoryUsage().heapUsed / 1e6;
  stop.abort();
  await screen;
  return {events: shown, maxLagMs: delay.max / 1e6, heapMb};
}

function event(index: number): TailEvent {
  return {
    type: 'answer',
    id: `${1_700_000_000_000 + index}-0`,
    ts: 1_700_000_000_000 + index,
    agentType: `agent-${index % 3}`,
    messageId: `msg-${index % 7}`,
    parentMessageId: '',
    traceId: 't',
    text: index % 12 === 0 ? `word ${index}\n` : `word ${index} `,
    contentType: '1002',
    eventType: 'answerDelta',
  };
}
