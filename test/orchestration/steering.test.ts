/** Messages that reach an agent while it works, at a point of its own; and those that do not. */
import {expect, test} from 'vitest';
import {acceptRunInput} from '../../src/orchestration/accept-input.js';
import {acceptTask} from '../../src/orchestration/submit.js';
import {lookAt} from '../../src/store/orchestration.js';
import {isListening, takeSteered} from '../../src/store/steering.js';
import {defineAgent} from '../../src/worker/agent.js';
import {describeEachStore, until, type TestStore} from '../support/stores.js';
import {ended, eventTypes, orchestrate, times, work, workspaceOf} from './support.js';

/** Works until it is told `stop`, and says what it was told. */
const listener = (look: () => Promise<unknown>) =>
  defineAgent({
    type: 'writer',
    run: async ctx => {
      const heard: string[] = [];
      for (let i = 0; i < 500 && !heard.includes('stop'); i++) {
        heard.push(...(await ctx.steered()));
        await ctx.step('work', look);
      }
      return {content: heard.join(', ')};
    },
  });

const pause = () => new Promise(resolve => setTimeout(resolve, 20));

async function open(at: TestStore, look = pause) {
  const store = at.open();
  const ws = workspaceOf(store);
  const {deps} = orchestrate(at, ws);
  await work(at, store, [listener(look)]);
  const {runId} = await acceptTask(ws, {agentType: 'writer', message: 'go'});
  const attemptId = await until(async () => {
    const attempt = (await lookAt(ws, 'run', runId))?.attempt;
    return attempt?.status === 'running' && (await isListening(ws, attempt.attemptId)) && attempt.attemptId;
  });
  const say = (message: string, idempotencyKey?: string) =>
    acceptRunInput(deps, runId, {message, mode: 'steer', ...(idempotencyKey ? {idempotencyKey} : {})});
  return {store, ws, deps, runId, attemptId, say};
}

describeEachStore('a message to a running agent', at => {
  test('is taken where the agent looks, once, in their order, and goes with no other turn', async () => {
    const {ws, runId, say} = await open(at);
    expect(await say('shorter', 'k')).toMatchObject({outcome: 'queued', delivery: 'steer'});
    expect(await say('shorter', 'k')).toMatchObject({idempotentHit: true});
    await say('in French');
    await say('stop');
    const {run} = await ended(ws, runId);
    expect(run).toMatchObject({status: 'ok', attemptCount: 1, result: {text: 'shorter, in French, stop'}});
    const types = await eventTypes(ws, runId);
    expect(types.filter(type => type === 'input_steered')).toHaveLength(3);
    expect(types).not.toContain('steer_downgraded');
  });

  test('that the agent does not look at any more is its next turn', async () => {
    const store = at.open();
    const ws = workspaceOf(store);
    const {deps} = orchestrate(at, ws);
    let release: () => void = () => undefined;
    const held = new Promise<void>(resolve => (release = resolve));
    const once = defineAgent({
      type: 'once',
      run: async (ctx, ask) => {
        const heard = await ctx.steered();
        await ctx.step('work', () => held);
        return {content: [ask.text, ...heard].join(', ')};
      },
    });
    await work(at, store, [once]);
    const {runId} = await acceptTask(ws, {agentType: 'once', message: 'go'});
    await until(async () => {
      const attempt = (await lookAt(ws, 'run', runId))?.attempt;
      return attempt?.status === 'running' && (await isListening(ws, attempt.attemptId));
    });
    const said = await acceptRunInput(deps, runId, {message: 'too late', mode: 'steer'});
    expect(said).toMatchObject({delivery: 'steer'});
    release();
    expect(await ended(ws, runId)).toMatchObject({
      run: {status: 'ok', attemptCount: 2, result: {text: 'too late'}},
    });
  });

  test('an agent that never looks gets it openly as the next turn', async () => {
    const store = at.open();
    const ws = workspaceOf(store);
    const {deps} = orchestrate(at, ws);
    let release: () => void = () => undefined;
    const held = new Promise<void>(resolve => (release = resolve));
    const deaf = defineAgent({type: 'deaf', run: async (_, ask) => (await held, {content: ask.text})});
    await work(at, store, [deaf]);
    const {runId} = await acceptTask(ws, {agentType: 'deaf', message: 'go'});
    await until(async () => (await lookAt(ws, 'run', runId))?.attempt?.status === 'running');
    const said = await acceptRunInput(deps, runId, {message: 'and this', mode: 'steer'});
    expect(said).toMatchObject({outcome: 'queued', downgraded: 'steer_unsupported'});
    release();
    expect(await ended(ws, runId)).toMatchObject({
      run: {status: 'ok', attemptCount: 2, result: {text: 'and this'}},
    });
  });

  test('is taken by one of twenty, and again by the same who died before it kept it', async () => {
    const {ws, attemptId, say} = await open(at, () => new Promise(() => undefined));
    await say('once');
    const taken = await times(20, i => takeSteered(ws, attemptId, `taker-${i}`));
    expect(taken.filter(some => some.length > 0)).toHaveLength(1);
    const winner = taken.findIndex(some => some.length > 0);
    expect(await takeSteered(ws, attemptId, `taker-${winner}`)).toMatchObject([{message: 'once'}]);
    expect(await takeSteered(ws, attemptId, 'another')).toEqual([]);
  });
});
