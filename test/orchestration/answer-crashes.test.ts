/** Whoever answers a run may die between any two commands; the same key given again answers it once, and starts no other turn. */
import {expect, test} from 'vitest';
import {acceptRunInput} from '../../src/orchestration/accept-input.js';
import {orchestratorDeps} from '../../src/orchestration/deps.js';
import {dispatchPass} from '../../src/orchestration/dispatch.js';
import {projectPass} from '../../src/orchestration/project.js';
import {AgentService} from '../../src/orchestration/service.js';
import {lookAt} from '../../src/store/orchestration.js';
import {readNumbered} from '../../src/store/orchestration-lists.js';
import type {Store} from '../../src/store/store.js';
import {defineAgent} from '../../src/worker/agent.js';
import {atEveryCrash} from '../support/crash.js';
import {describeEachStore, until, type TestStore} from '../support/stores.js';
import {PlainWorker} from './plain-worker.js';
import {commandEntries, ended, eventTypes, orchestrate, QUICK, times, work, workspaceOf} from './support.js';

const W = 'default';
const SESSION = 's-1';
const depsOf = (store: Store) => orchestratorDeps(workspaceOf(store));

/** A run that waits for an answer. */
async function asking(at: TestStore, store: Store) {
  const deps = depsOf(store);
  const plain = await new PlainWorker(store, at.redis(), 'py-1', 'py').online();
  const {runId} = await new AgentService({store}).acceptAgentCommand(W, {
    ...{agentType: 'py', message: 'begin', sessionId: SESSION},
  });
  await dispatchPass(deps);
  const taken = await plain.take();
  await plain.write(taken, {status: 'WAITING_USER'});
  await projectPass(deps);
  return {plain, taken, runId};
}

type Asking = Awaited<ReturnType<typeof asking>>;

const resumes = async (store: Store) =>
  (await commandEntries(store, 'py')).filter(({metadata}) => metadata['by_reply'] !== undefined);

/** How far the agent gets between the crash and the repeat; only if it was answered. */
const MEANWHILE = {
  'at once': [],
  'once it runs': ['RUNNING'],
  'once it has ended': ['RUNNING', 'COMPLETED'],
} as const;

const WAYS = {
  'an input': (store: Store, runId: string) =>
    acceptRunInput(depsOf(store), runId, {message: 'yes', idempotencyKey: 'k'}),
  'a command for its session': async (store: Store) => {
    const {convertedToInput} = await new AgentService({store}).acceptAgentCommand(W, {
      ...{agentType: 'py', message: 'yes', sessionId: SESSION, idempotencyKey: 'k'},
    });
    return convertedToInput;
  },
} as const;

describeEachStore('an answer to a run', at => {
  for (const [way, give] of Object.entries(WAYS))
    for (const [when, statuses] of Object.entries(MEANWHILE))
      test(`that came as ${way} from one that dies is given once, and repeated ${when} noted once`, async () => {
        at.breaksRules('dead-workers', 'openOutboxes', 'ctrlStream');
        let answered = 0;
        const points = await atEveryCrash(
          () => at.open(),
          store => asking(at, store),
          (store, {runId}: Asking) => give(store, runId),
          async (store, {plain, taken, runId}) => {
            const ws = workspaceOf(store);
            const wasGiven = (await resumes(store)).length > 0;
            if (wasGiven) answered++;
            for (const status of wasGiven ? statuses : []) {
              await plain.write(taken, {status});
              await projectPass(depsOf(store));
            }
            const [one, other] = await times(2, () => give(store, runId));
            expect(one).toMatchObject({outcome: 'direct', runId});
            expect(other).toMatchObject({outcome: 'direct', runId, inputId: one?.inputId});
            expect(await resumes(store)).toHaveLength(1);
            const seen = await lookAt(ws, 'run', runId);
            expect(seen).toMatchObject({task: {runCount: 1}, run: {attemptCount: 1}});
            expect(seen?.inputs).toMatchObject([{state: 'delivered', message: 'yes'}]);
            expect((await eventTypes(ws, runId)).filter(type => type === 'input_direct')).toHaveLength(1);
            const {entries} = await readNumbered(ws, ws.keys.orchLog(W, seen!.task.taskId), 0, 100);
            expect(entries.filter(({doc}) => doc.includes('"answer"'))).toHaveLength(1);
          },
        );
        expect(points).toBeGreaterThan(5);
        expect(answered).toBeGreaterThan(1);
      });

  test('that came too late after all is the next turn, once', async () => {
    at.breaksRules('dead-workers', 'openOutboxes', 'ctrlStream');
    await atEveryCrash(
      () => at.open(),
      store => asking(at, store),
      (store, {runId}) => WAYS['an input'](store, runId),
      async (store, {runId}) => {
        const other = await acceptRunInput(depsOf(store), runId, {message: 'mine', idempotencyKey: 'other'});
        const results = await times(2, () => WAYS['an input'](store, runId));
        const outcomes = new Set([other, ...results].map(({outcome}) => outcome));
        expect([...outcomes].sort()).toEqual(['direct', 'queued']);
        expect(await resumes(store)).toHaveLength(1);
        const seen = await lookAt(workspaceOf(store), 'run', runId);
        expect(seen?.inputs.map(({state}) => state).sort()).toEqual(['buffered', 'delivered']);
      },
    );
  });

  test('that is refused for what it says leaves its key for another', async () => {
    const store = at.open();
    const ws = workspaceOf(store);
    const asks = defineAgent({
      type: 'asks',
      run: async ctx => {
        const question = {prompt: 'which?', choices: ['left', 'right']};
        return {content: `went ${String(await ctx.askUser(question))}`};
      },
    });
    await work(at, store, [asks]);
    orchestrate(at, ws);
    const service = new AgentService({store, times: QUICK});
    const {runId} = await service.acceptAgentCommand(W, {agentType: 'asks', message: 'begin'});
    await until(async () => (await service.getRunInteraction(W, runId)).state === 'waiting_for_input');
    const accept = (message: string) => service.acceptRunInput(W, runId, 'followup', message, 'k');
    await expect(accept('up')).rejects.toMatchObject({code: 'INVALID_INPUT'});
    expect(await accept('left')).toMatchObject({outcome: 'direct', idempotentHit: false});
    expect((await ended(ws, runId)).run?.result?.text).toBe('went left');
    expect(await accept('left')).toMatchObject({outcome: 'direct', idempotentHit: true});
  });
});
