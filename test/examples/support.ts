/** Plays an example: on a worker as users run it, or on workers that die all the time; and what was to be seen of it. */
import {GatewayClient} from '../../src/client/client.js';
import {silentLogger} from '../../src/log.js';
import {encodeSendable} from '../../src/protocol/commands.js';
import {createHeader} from '../../src/protocol/header.js';
import {askUserPrompt, eventKind, eventText, type DataEvent} from '../../src/protocol/events.js';
import type {ExecutionRecord} from '../../src/protocol/execution.js';
import {isTerminal} from '../../src/protocol/states.js';
import {followSession} from '../../src/store/data-streams.js';
import {findExecution} from '../../src/store/executions.js';
import {sweepOutboxes} from '../../src/store/outbox.js';
import type {Store} from '../../src/store/store.js';
import type {Agent} from '../../src/worker/agent.js';
import {startWorker} from '../../src/worker/runner.js';
import {MortalWorker} from '../support/mortal-worker.js';
import {until, type TestStore} from '../support/stores.js';

export interface Play {
  readonly agents: readonly Agent[];
  readonly agentType: string;
  readonly content: string;
  /** What the person says to a question that holds these words, whenever it comes. */
  readonly answers?: Readonly<Record<string, string>>;
}

export interface Played {
  readonly status: string;
  /** The final answer. */
  readonly final: string;
  /** What the agent that was asked told, in order. */
  readonly told: readonly string[];
  /** What each of those it called told; in no order, for they ran side by side. */
  readonly others: readonly string[];
}

/** Commands the next worker lives for. */
export type Lifespan = () => number;

/** On one worker that nothing happens to. */
export async function playCalm(at: TestStore, store: Store, play: Play): Promise<Played> {
  const worker = await startWorker(store, {agents: play.agents, log: silentLogger});
  at.cleanup(() => worker.stop({drainMs: 0}));
  const stage = await begin(store, play);
  await until(() => stage.isOver());
  await worker.stop();
  return stage.look();
}

/** On one worker after the other. @returns how many died, too. */
export async function playStormy(
  at: TestStore,
  store: Store,
  play: Play,
  lifespan: Lifespan,
): Promise<{readonly played: Played; readonly deaths: number; readonly events: readonly DataEvent[]}> {
  const workers = new MortalWorker(store, play.agents);
  const stage = await begin(store, play);
  await workers.work(() => stage.isOver(), lifespan);
  // What the dead had begun and somebody else has done is forgotten by the next sweeps.
  const open = () => store.commands.run(redis => redis.xlen(store.keys.openOutboxes()));
  while (at.kind === 'cluster' && (await open()) > 0) await sweepOutboxes(store, 0);
  return {played: await stage.look(), deaths: workers.deaths, events: await stage.events()};
}

/** Numbers from 0 to below 1 that look random, and are the same for the same seed. */
export function chance(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

/** Most die young, some get far. */
export const mortal =
  (random: () => number, most = 300): Lifespan =>
  () =>
    1 + Math.floor(most * random() ** 3);

async function begin(store: Store, {agentType, content, answers = {}}: Play) {
  const sent = await new GatewayClient(store).send({agentType, content, policy: 'SEND_ANYWAY'});
  const answered = new Set<unknown>();
  const events = async () => {
    const found: DataEvent[] = [];
    for await (const item of followSession(store, sent.sessionId, {untilCaughtUp: true}))
      if (item.kind === 'event') found.push(item.event);
    return found;
  };
  const record = () => findExecution(store, sent.sessionId, sent.executionId);
  return {
    events,
    async isOver(): Promise<boolean> {
      const now = await record();
      if (now?.status === 'WAITING_USER')
        for (const event of await events()) {
          const question = event.metadata['by_question'];
          const asked = askUserPrompt(event)?.prompt ?? '';
          const words = Object.keys(answers).find(key => asked.includes(key));
          if (words === undefined || answered.has(question)) continue;
          answered.add(question);
          await reply(store, now, String(question), answers[words] ?? '');
        }
      return now !== undefined && isTerminal(now.status);
    },
    async look(): Promise<Played> {
      const all = await events();
      const ours = all.filter(event => event.messageId === sent.messageId);
      const theirs = new Map<string, DataEvent[]>();
      for (const event of all)
        if (event.messageId !== sent.messageId)
          theirs.set(event.messageId, [...(theirs.get(event.messageId) ?? []), event]);
      return {
        status: (await record())?.status ?? 'MISSING',
        final: eventText(ours.find(event => eventKind(event) === 'final') ?? ours[0]!),
        told: ours.map(line),
        others: [...theirs.values()]
          .map(own => [own[0]?.sourceAgentType, ...own.map(line)].join(' | '))
          .sort((a, b) => a.localeCompare(b)),
      };
    },
  };
}

const line = (event: DataEvent): string => `${eventKind(event)}: ${eventText(event)}`;

/** The person's answer, as any SDK sends it. */
async function reply(
  store: Store,
  {messageId, sessionId, traceId, targetAgentType}: ExecutionRecord,
  question: string,
  content: string,
): Promise<void> {
  const header = createHeader({
    ...{messageId, sessionId, traceId, targetAgentType, metadata: {by_question: question}},
  });
  const document = encodeSendable({
    ...{action: 'RESUME', header, content, status: '', replyData: null, extraPayload: {}},
  });
  await store.commands.run(redis =>
    redis.xadd(store.keys.ctrlStream(targetAgentType), '*', 'data', document),
  );
}
