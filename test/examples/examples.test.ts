/** The programs of examples/, as they are: on a worker nothing happens to, and on workers that die all the time. */
import {expect, test} from 'vitest';
import {assistant, openingHours, toyModel} from '../../examples/assistant.js';
import {publisher} from '../../examples/approval.js';
import {chat, weather} from '../../examples/chat.js';
import {essayist, expander} from '../../examples/graph.js';
import {census, counter} from '../../examples/map-reduce.js';
import {critic, editor, researcher, writer} from '../../examples/pipeline.js';
import {eventText} from '../../src/protocol/events.js';
import {describeEachStore} from '../support/stores.js';
import {chance, mortal, playCalm, playStormy, type Play} from './support.js';

/** Fewer on the slower stores. */
const PLAYS = {redis: 8, embedded: 3, cluster: 3};

const pipeline: Play = {
  agents: [editor, researcher, writer, critic],
  agentType: 'editor',
  content: 'queues',
};

describeEachStore('the pipeline', at => {
  test('ends with a text the critic is content with', async () => {
    const played = await playCalm(at, at.open(), pipeline);
    expect(played.told.slice(0, 2)).toEqual(['state: Looking things up', 'state: Round 1: too long']);
    expect(played.final.split('\n')).toEqual([
      'On queues (what it is): it depends.',
      'On queues (what it costs): it depends.',
      'On queues (what goes wrong): it depends.',
    ]);
  });

  test('reads as if nobody had died', async () => {
    const calm = await playCalm(at, at.open(), pipeline);
    let deaths = 0;
    for (let i = 0; i < PLAYS[at.kind]; i++) {
      const stormy = await playStormy(at, at.open(), pipeline, mortal(chance(i)));
      expect(stormy.played, `play ${i}`).toEqual(calm);
      deaths += stormy.deaths;
    }
    expect(deaths).toBeGreaterThan(0);
  }, 120_000);
});

describeEachStore('the approval', at => {
  const made: string[] = [];
  const play = (answers: Play['answers']): Play => ({
    agents: [
      publisher((text, key) => {
        made.push(`${key} ${text}`);
        return Promise.resolve(`at:${text}`);
      }),
    ],
    agentType: 'publisher',
    content: 'draft',
    answers: answers ?? {},
  });
  const changed = {'"draft"': 'change', 'What should': 'better', '"better"': 'yes'};

  test('publishes what the person has changed and approved', async () => {
    const played = await playCalm(at, at.open(), play(changed));
    expect(played.final).toBe('Published: at:better');
    expect(played.told.filter(line => line.startsWith('ask'))).toHaveLength(3);
    expect(made.splice(0)).toEqual([expect.stringMatching(/^exec\S+ better$/)]);
  });

  test('publishes nothing without a yes', async () => {
    const played = await playCalm(at, at.open(), play({'"draft"': 'no'}));
    expect(played.final).toBe('Nothing was published.');
    expect(made).toEqual([]);
  });

  test('asks each question once, and reads as if nobody had died', async () => {
    const calm = await playCalm(at, at.open(), play(changed));
    let deaths = 0;
    for (let i = 0; i < PLAYS[at.kind]; i++) {
      made.length = 0;
      const stormy = await playStormy(at, at.open(), play(changed), mortal(chance(i), 60));
      expect(stormy.played, `play ${i}`).toEqual(calm);
      // Whoever died while it published did it again, under the same key.
      expect(new Set(made).size).toBe(1);
      deaths += stormy.deaths;
    }
    expect(deaths).toBeGreaterThan(PLAYS[at.kind]);
  }, 120_000);
});

describeEachStore('the census', at => {
  const documents = Array.from({length: 100}, (_, i) =>
    i === 13 ? '...' : `Words count. Word number ${'x'.repeat(i)}`,
  );
  const play: Play = {agents: [census, counter], agentType: 'word_census', content: documents.join('\n\n')};

  test('joins what a hundred agents found, and counts what nobody could read', async () => {
    const played = await playCalm(at, at.open(), play);
    expect(played.final.split('\n')).toEqual([
      ...['count 99', 'number 99', 'word 99', 'words 99', 'xxxx 1'],
      'unread 1 of 100',
    ]);
    at.breaksRules('dead-letters');
  });

  test('is the same when workers die among the hundred', async () => {
    const calm = await playCalm(at, at.open(), play);
    let deaths = 0;
    for (let i = 0; i < 2; i++) {
      const stormy = await playStormy(at, at.open(), play, mortal(chance(i), 1500));
      expect(stormy.played, `play ${i}`).toEqual(calm);
      deaths += stormy.deaths;
    }
    expect(deaths).toBeGreaterThan(0);
    at.breaksRules('dead-letters');
  }, 120_000);
});

describeEachStore('the chat', at => {
  const play: Play = {
    ...{
      agents: [chat, weather],
      agentType: 'chat',
      content: 'What is the weather in Oslo and Rome or Athens?',
    },
  };
  const answer = 'Oslo: rain, Rome: rain, Athens: rain';

  test('streams what the model says, and asks the tools in between', async () => {
    const played = await playCalm(at, at.open(), play);
    expect(played.final).toBe(answer);
    const said = played.told.flatMap(line => /^answer: (.*)$/.exec(line)?.[1] ?? []);
    expect(said).toEqual([
      'Let ',
      'me ',
      'look. ',
      'Oslo: ',
      'rain, ',
      'Rome: ',
      'rain, ',
      'Athens: ',
      'rain',
    ]);
  });

  test('ends the same when workers die; an answer that was cut off streams again from its beginning', async () => {
    let deaths = 0;
    for (let i = 0; i < PLAYS[at.kind]; i++) {
      const {played, events, ...stormy} = await playStormy(at, at.open(), play, mortal(chance(i), 100));
      expect(played, `play ${i}`).toMatchObject({status: 'COMPLETED', final: answer});
      const byStep = new Map<unknown, string>();
      for (const event of events) {
        const step = event.metadata['by_step'];
        if (step !== undefined) byStep.set(step, (byStep.get(step) ?? '') + eventText(event));
      }
      const [first = '', second = ''] = [...byStep.values()];
      expect(byStep.size).toBe(2);
      expect(startsOf('Let me look. ', first), first).toBe(true);
      expect(startsOf(answer, second), JSON.stringify([...byStep])).toBe(true);
      deaths += stormy.deaths;
    }
    expect(deaths).toBeGreaterThan(PLAYS[at.kind]);
  }, 120_000);
});

/** Whether `told` is any number of beginnings of `whole`, and then all of it. */
function startsOf(whole: string, told: string): boolean {
  if (told === whole) return true;
  for (let length = 1; length <= whole.length && told.startsWith(whole.slice(0, length)); length++)
    if (startsOf(whole, told.slice(length))) return true;
  return false;
}

describeEachStore('the graph', at => {
  const play: Play = {
    agents: [essayist, expander],
    agentType: 'essayist',
    content: 'queues',
    answers: {'it depends."?': 'longer', 'That depends, too."?': 'yes'},
  };

  test('asks until the person is content, and reads as if nobody had died', async () => {
    const calm = await playCalm(at, at.open(), play);
    expect(calm.final).toBe('On queues: it depends. On what? That depends, too.');
    for (let i = 0; i < PLAYS[at.kind]; i++) {
      const stormy = await playStormy(at, at.open(), play, mortal(chance(i)));
      expect(stormy.played.final, `play ${i}`).toBe(calm.final);
    }
  }, 120_000);
});

describeEachStore('the assistant', at => {
  const booked = new Set<string>();
  const book = (town: string, key: string) => {
    booked.add(key);
    return Promise.resolve(`a table in ${town}`);
  };
  const play: Play = {
    agents: [assistant(toyModel(), book), openingHours],
    agentType: 'assistant',
    content: 'Book a table in Oslo',
    answers: {book_table: 'yes'},
  };

  test('uses its tools, and books once under one key however often it dies', async () => {
    const calm = await playCalm(at, at.open(), play);
    expect(calm.final).toBe('Saturday. Oslo: six to ten. a table in Oslo. ');
    for (let i = 0; i < PLAYS[at.kind]; i++) {
      booked.clear();
      const stormy = await playStormy(at, at.open(), play, mortal(chance(i)));
      expect(stormy.played.final, `play ${i}`).toBe(calm.final);
      expect(booked.size).toBe(1);
    }
  }, 120_000);
});
