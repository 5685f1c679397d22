/** The tail screen under a flood of events: how long it holds up the event loop, and what it keeps in memory. */
import {monitorEventLoopDelay} from 'node:perf_hooks';
import {PassThrough, Writable} from 'node:stream';
import {runTailScreen} from '../../src/ui/tail/screen.js';
import type {TailEvent} from '../../src/observe/tail-event.js';

export interface TailFigures {
  /** Events that reached the terminal. */
  readonly perSecond: number;
  /** Longest time between two turns of a 5 ms timer, so never less than 5. */
  readonly maxLagMs: number;
  /** What was in use, garbage included, whenever it was looked at. */
  readonly maxHeapMb: number;
}

/** Loading the screen is not showing events. */
const WARM_MS = 1000;
const HEAP_EVERY_MS = 50;

const MOST_EVENTS = 1 << 20;

/** A terminal that shows nothing, and counts the events written to it, each once however often it is drawn. */
class FakeTerminal extends Writable {
  readonly isTTY = true;
  readonly columns = 120;
  readonly rows = 40;
  shown = 0;
  /** Outside the heap, which is measured. */
  private readonly isShown = new Uint8Array(MOST_EVENTS);

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    for (const [, index] of chunk.toString().matchAll(/event (\d+);/g)) {
      if (this.isShown[Number(index)] !== 0) continue;
      this.isShown[Number(index)] = 1;
      this.shown++;
    }
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
  const stop = new AbortController();
  const stdout = new FakeTerminal();
  const streams = {stdin: new FakeKeyboard(), stdout, stderr: stdout};
  const screen = runTailScreen({
    events: flood(perSecond, stop.signal),
    session: 'flood',
    signal: stop.signal,
    onQuit: () => undefined,
    streams: streams as unknown as NonNullable<Parameters<typeof runTailScreen>[0]['streams']>,
  });
  await wait(WARM_MS);

  let maxHeap = 0;
  const heap = setInterval(
    () => (maxHeap = Math.max(maxHeap, process.memoryUsage().heapUsed)),
    HEAP_EVERY_MS,
  );
  const delay = monitorEventLoopDelay({resolution: 5});
  const before = stdout.shown;
  const startedAt = performance.now();
  delay.enable();
  await wait(seconds * 1000);
  delay.disable();
  const tookS = (performance.now() - startedAt) / 1000;
  const shown = stdout.shown - before;
  clearInterval(heap);
  stop.abort();
  await screen;
  return {perSecond: shown / tookS, maxLagMs: delay.max / 1e6, maxHeapMb: maxHeap / 1e6};
}

async function* flood(perSecond: number, signal: AbortSignal): AsyncGenerator<TailEvent> {
  const startedAt = performance.now();
  for (let made = 0; !signal.aborted; await wait(5)) {
    const due = ((performance.now() - startedAt) / 1000) * perSecond;
    while (made < due) yield event(made++);
  }
}

const wait = (ms: number) => new Promise(resolve => setTimeout(resolve, ms));

/** Tokens of several agents that speak at once; every twelfth ends a line. */
function event(index: number): TailEvent {
  return {
    type: 'answer',
    id: `${1_700_000_000_000 + index}-0`,
    ts: 1_700_000_000_000 + index,
    agentType: `agent-${index % 3}`,
    messageId: `msg-${index % 7}`,
    parentMessageId: '',
    traceId: 't',
    text: index % 12 === 0 ? `event ${index};\n` : `event ${index}; `,
    contentType: '1002',
    eventType: 'answerDelta',
  };
}
