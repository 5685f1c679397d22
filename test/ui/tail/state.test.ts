import {describe, expect, test} from 'vitest';
import {initialState, reduce, selectionOf, type Action, type State} from '../../../src/ui/tail/state.js';

const press = (state: State, ...inputs: string[]): State =>
  inputs.reduce((before, input) => {
    const name =
      (['return', 'escape', 'backspace', 'ctrl-c'] as const).find(special => special === input) ?? 'text';
    return reduce(before, {type: 'pressed', key: {name, input: name === 'text' ? input : ''}});
  }, state);

const tick = (state: State, changes: Partial<Action & {type: 'ticked'}>): State =>
  reduce(state, {type: 'ticked', nowMs: 0, events: 0, unseen: 0, agents: [], partials: [], ...changes});

const start = initialState('sess-1', true);

describe('keys', () => {
  test('space pauses and goes on', () => {
    expect(press(start, ' ').mode).toBe('paused');
    expect(press(start, ' ', ' ').mode).toBe('live');
  });

  test('a filter is typed, and applied by return', () => {
    const typing = press(start, '/', 'B', 'onj', 'x', 'backspace');
    expect(typing).toMatchObject({mode: 'typing', draft: 'Bonj', filter: ''});
    expect(press(typing, 'return')).toMatchObject({mode: 'live', filter: 'Bonj'});
    expect(selectionOf(press(typing, 'return')).text).toBe('bonj');
  });

  test('a filter is left as it was by escape, and q and space are letters while it is typed', () => {
    const filtered = press(start, '/', 'a', 'return');
    expect(press(filtered, '/', 'q', ' ', 'escape')).toMatchObject({mode: 'live', filter: 'a'});
  });

  test('a pause outlives the typing of a filter', () => {
    expect(press(start, ' ', '/', 'x', 'return').mode).toBe('paused');
  });

  test('a paste brings no control codes, and not too much', () => {
    const pasted = press(start, '/', `a\u001b[2J\r\n${'b'.repeat(1000)}`);
    expect(pasted.draft).toHaveLength(200);
    expect(pasted.draft.startsWith('a[2Jbbb')).toBe(true);
  });

  test('e goes through the kinds of events and back to all', () => {
    expect(selectionOf(press(start, 'e')).types).toEqual(['answer', 'final', 'ask']);
    expect(selectionOf(press(start, 'e', 'e', 'e', 'e', 'e', 'e')).types).toBeNull();
  });

  test('a goes through the agents seen and back to everybody', () => {
    const two = tick(start, {agents: ['ocr', 'translator']});
    expect(press(two, 'a').agentType).toBe('ocr');
    expect(press(two, 'a', 'a').agentType).toBe('translator');
    expect(press(two, 'a', 'a', 'a').agentType).toBeNull();
  });

  test('t turns the times off, q and Ctrl-C close', () => {
    expect(press(start, 't').timestamps).toBe(false);
    expect(press(start, 'q').mode).toBe('closed');
    expect(press(start, '/', 'ctrl-c').mode).toBe('closed');
    expect(press(start, 'z')).toBe(start);
  });
});

describe('ticks', () => {
  test('that change nothing give the same state, so nothing is drawn', () => {
    const first = tick(start, {nowMs: 1000, events: 5});
    expect(tick(first, {nowMs: 1050, events: 5})).toBe(first);
  });

  test('tell the rate of the last seconds, and keep few samples', () => {
    let state = start;
    for (let at = 0; at <= 100; at++) state = tick(state, {nowMs: at * 100, events: at * 10});
    expect(state.eventsPerSecond).toBe(100);
    expect(state.samples.length).toBeLessThan(10);
  });
});

describe('questions', () => {
  const where = {
    agentType: 'deployer',
    prompt: 'Where?',
    executionId: 'exec-1',
    questionId: 'ask-1',
    dueAt: 0,
  };
  const sure = {...where, prompt: 'Sure?', questionId: 'ask-2', choices: ['yes', 'no']};
  const asked = (state: State, ...questions: State['questions'][number][]): State =>
    reduce(state, {type: 'asked', questions});

  test('r does nothing while nothing is asked', () => {
    expect(press(start, 'r')).toBe(start);
  });

  test('r answers the first, keys are letters then, and the answer is sent once', () => {
    const state = press(asked(start, where, sure), 'r', 'q', 'uay', 'return');
    expect(state).toMatchObject({mode: 'live', replying: null, questions: [{questionId: 'ask-2'}]});
    expect(state.answers).toMatchObject([{question: {questionId: 'ask-1'}, text: 'quay'}]);
  });

  test('tab goes to the next, escape back to the events, Ctrl-C out', () => {
    const replying = reduce(press(asked(start, where, sure), 'r'), {
      type: 'pressed',
      key: {name: 'tab', input: ''},
    });
    expect(replying.replying?.question.questionId).toBe('ask-2');
    expect(press(replying, '2', 'return').answers).toMatchObject([{text: 'no'}]);
    expect(press(replying, 'escape')).toMatchObject({mode: 'live', replying: null, answers: []});
    expect(press(replying, 'ctrl-c').mode).toBe('closed');
  });

  test('one that somebody else has answered is not asked any longer; a pause outlives it', () => {
    const replying = press(asked(press(start, ' '), where), 'r', 'dra');
    expect(asked(replying)).toMatchObject({mode: 'paused', replying: null, questions: []});
    expect(asked(replying, where, sure).replying?.state.draft).toBe('dra');
  });
});
