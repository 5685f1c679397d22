/** BullMQ with its defaults; a chunk is a progress update, which is what its readers can follow. */
import {FlowProducer, Queue, QueueEvents, WaitingChildrenError, Worker, type Job} from 'bullmq';
import {
  CHUNKS,
  inFlight,
  perSecond,
  SCATTERED,
  TOGETHER,
  until,
  type OpenSubject,
  type Subject,
} from '../subject.js';

const NAME = 'q';
/** Of jobs that have others done. */
const CALLERS = 'callers';

function connectionOf(url: string) {
  const {hostname, port} = new URL(url);
  return {host: hostname, port: Number(port), maxRetriesPerRequest: null};
}

async function openQueue(url: string): Promise<Queue> {
  const queue = new Queue(NAME, {connection: connectionOf(url)});
  await queue.waitUntilReady();
  return queue;
}

/** A queue and a worker whose jobs report so much progress. */
async function start(url: string, chunks = 1, concurrency = 50) {
  const queue = await openQueue(url);
  let completed = 0;
  let waiting: {count: number; resolve: () => void} | undefined;
  const worker = new Worker(
    NAME,
    async job => {
      for (let i = 0; i < chunks; i++) await job.updateProgress({chunk: 'token '});
    },
    {connection: connectionOf(url), concurrency},
  );
  worker.on('completed', () => {
    completed++;
    if (waiting !== undefined && completed >= waiting.count) waiting.resolve();
  });
  await worker.waitUntilReady();
  return {
    queue,
    completed: () => completed,
    allEnded: (count: number) =>
      new Promise<void>(resolve => {
        waiting = {count, resolve};
        if (completed >= count) resolve();
      }),
    stop: async () => {
      await worker.close();
      await queue.close();
    },
  };
}

async function fill(queue: Queue, count: number): Promise<void> {
  for (let sent = 0; sent < count; sent += TOGETHER) {
    const some = Array.from({length: Math.min(TOGETHER, count - sent)}, () => ({
      name: 't',
      data: {content: 'x'},
    }));
    await queue.addBulk(some);
  }
}

async function sends(url: string, count: number, width: number): Promise<number> {
  const queue = await openQueue(url);
  const rate = await perSecond(count, () => inFlight(count, width, () => queue.add('t', {content: 'x'})));
  await queue.close();
  return rate;
}

/** What a job that calls works with. */
interface Callees {
  readonly callees: Queue;
  readonly events: QueueEvents;
}

async function timeCalls(
  url: string,
  count: number,
  caller: (parts: Callees) => (job: Job, token?: string) => Promise<unknown>,
): Promise<number[]> {
  const connection = connectionOf(url);
  const [callers, callees] = [new Queue(CALLERS, {connection}), await openQueue(url)];
  const events = new QueueEvents(NAME, {connection});
  const answering = new Worker(NAME, () => Promise.resolve('x'), {connection, concurrency: 50});
  const calling = new Worker(CALLERS, caller({callees, events}), {connection, concurrency: 50});
  const all = [callers, callees, events, answering, calling];
  await Promise.all(all.map(one => one.waitUntilReady()));
  const times: number[] = [];
  for (let i = 0; i < count; i++) {
    const done = new Promise<unknown>(resolve =>
      calling.once('completed', (_job, answer) => resolve(answer)),
    );
    const startedAt = performance.now();
    await callers.add('t', {content: 'x'});
    const answer = await done;
    times.push(performance.now() - startedAt);
    if (answer !== 'x') throw new Error(`the answer was ${String(answer)}`);
  }
  await Promise.all(all.map(one => one.close()));
  return times;
}

export const bullmq: Subject = {
  sendAwaited: (url, count) => sends(url, count, 1),
  sendInFlight: (url, count) => sends(url, count, 100),

  async sendMany(url, count) {
    const queue = await openQueue(url);
    const rate = await perSecond(count, () => fill(queue, count));
    await queue.close();
    return rate;
  },

  async drain(url, count) {
    const queue = await openQueue(url);
    await fill(queue, count);
    let stop = () => Promise.resolve();
    const rate = await perSecond(count, async () => {
      const worker = await start(url);
      stop = worker.stop;
      await worker.allEnded(count);
    });
    await stop();
    await queue.close();
    return rate;
  },

  async sessions(url, count) {
    const {queue, allEnded, stop} = await start(url, CHUNKS, count);
    const rate = await perSecond(count * CHUNKS, async () => {
      await inFlight(count, 100, () => queue.add('t', {content: 'x'}));
      await allEnded(count);
    });
    await stop();
    return rate;
  },

  async endToEndTwo(url, count) {
    const [one, two] = [await start(url), await start(url)];
    const rate = await perSecond(count, async () => {
      await inFlight(count, 100, () => one.queue.add('t', {content: 'x'}));
      await until(() => one.completed() + two.completed() >= count);
    });
    await Promise.all([one.stop(), two.stop()]);
    return rate;
  },

  async replay(url, count) {
    const queue = await openQueue(url);
    const worker = new Worker(NAME, () => Promise.reject(new Error('no')), {
      connection: connectionOf(url),
      concurrency: 50,
    });
    await fill(queue, count);
    while ((await queue.getFailedCount()) < count) await new Promise(resolve => setTimeout(resolve, 20));
    await worker.close();
    const rate = await perSecond(count, () => queue.retryJobs({count: 1000}));
    if ((await queue.getWaitingCount()) !== count) throw new Error('not all jobs were put back');
    await queue.close();
    return rate;
  },

  async endToEnd(url, count) {
    const {queue, allEnded, stop} = await start(url);
    const rate = await perSecond(count, async () => {
      await inFlight(count, 100, () => queue.add('t', {content: 'x'}));
      await allEnded(count);
    });
    await stop();
    return rate;
  },

  async stream(url, chunks) {
    const {queue, allEnded, stop} = await start(url, chunks);
    const rate = await perSecond(chunks, async () => {
      await queue.add('t', {content: 'x'});
      await allEnded(1);
    });
    await stop();
    return rate;
  },

  async latency(url, count) {
    const {queue, allEnded, stop} = await start(url);
    const events = new QueueEvents(NAME, {connection: connectionOf(url)});
    await events.waitUntilReady();
    const times: number[] = [];
    for (let i = 0; i < count; i++) {
      const seen = new Promise(resolve => events.once('progress', resolve));
      const startedAt = performance.now();
      await queue.add('t', {content: 'x'});
      await seen;
      times.push(performance.now() - startedAt);
      await allEnded(i + 1);
    }
    await events.close();
    await stop();
    return times;
  },

  /** A flow: the parent runs once its children have. */
  async scatter(url, count) {
    const connection = connectionOf(url);
    const flow = new FlowProducer({connection});
    const children = new Worker(NAME, () => Promise.resolve('x'), {connection, concurrency: 50});
    const parents = new Worker(CALLERS, async job => Object.keys(await job.getChildrenValues()).length, {
      connection,
      concurrency: 50,
    });
    await Promise.all([flow.waitUntilReady(), children.waitUntilReady(), parents.waitUntilReady()]);
    const times: number[] = [];
    for (let i = 0; i < count; i++) {
      const done = new Promise<unknown>(resolve =>
        parents.once('completed', (_job, joined) => resolve(joined)),
      );
      const startedAt = performance.now();
      await flow.add({
        name: 't',
        queueName: CALLERS,
        children: Array.from({length: SCATTERED}, () => ({name: 't', queueName: NAME, data: {content: 'x'}})),
      });
      const joined = await done;
      times.push(performance.now() - startedAt);
      if (joined !== SCATTERED) throw new Error(`${String(joined)} children were joined`);
    }
    await Promise.all([flow.close(), children.close(), parents.close()]);
    return times;
  },

  /** A job that adds a child, gives its slot back, and goes on once the child has ended. */
  call: (url, count) =>
    timeCalls(url, count, ({callees}) => async (job, token = '') => {
      // The first start; the second is the one that finds the answer.
      if (job.attemptsStarted === 1) {
        const parent = {id: job.id ?? '', queue: job.queueQualifiedName};
        await callees.add('t', {content: 'x'}, {parent});
        if (await job.moveToWaitingChildren(token)) throw new WaitingChildrenError();
      }
      return Object.values(await job.getChildrenValues<string>())[0];
    }),

  async open(url): Promise<OpenSubject> {
    const {queue, allEnded, stop} = await start(url);
    let sent = 0;
    return {
      async task() {
        await queue.add('t', {content: 'x'});
        await allEnded(++sent);
      },
      async tasks(count) {
        await inFlight(count, 100, () => queue.add('t', {content: 'x'}));
        await allEnded((sent += count));
      },
      close: stop,
    };
  },
};

/** A call by a job that holds its slot meanwhile: if its worker dies, the answer is lost and the child is added again. */
export const bullmqHeld: Subject = {
  ...bullmq,
  call: (url, count) =>
    timeCalls(
      url,
      count,
      ({callees, events}) =>
        async (): Promise<unknown> =>
          (await callees.add('t', {content: 'x'})).waitUntilFinished(events),
    ),
};
