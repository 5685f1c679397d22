/** The saga of examples/saga.ts: whole or not at all, however often its workers die. */
import {expect, test} from 'vitest';
import {cashier, trip, type Bookings} from '../../examples/saga.js';
import {describeEachStore} from '../support/stores.js';
import {chance, mortal, playCalm, playStormy, type Play} from './support.js';

/** A booking office: it knows each booking by its key, and now and then fails, also after it has booked. */
class Office implements Bookings {
  readonly booked = new Map<string, string>();
  readonly cancelled = new Set<string>();
  /** Every call it was given, in order. */
  readonly calls: string[] = [];
  private failures = 0;

  constructor(private readonly full: readonly string[] = []) {}

  book(what: string, key: string): Promise<string> {
    this.calls.push(`book ${what}`);
    if (this.full.includes(what)) return Promise.reject(new Error(`The ${what} is full.`));
    if (!this.booked.has(key)) this.booked.set(key, `${what}-${this.booked.size + 1}`);
    if (this.failures++ % 5 === 1) return Promise.reject(new Error('The line broke.'));
    return Promise.resolve(this.booked.get(key) ?? '');
  }

  cancel(key: string): Promise<void> {
    this.calls.push(`cancel ${key.split('/')[1] ?? ''}`);
    if (this.booked.has(key)) this.cancelled.add(key);
    return Promise.resolve();
  }

  /** What was asked of it, without what was asked again before anything else was. */
  get steps(): string[] {
    return this.calls.filter((call, i) => call !== this.calls[i - 1]);
  }

  /** Each thing booked and kept. */
  get kept(): string[] {
    return [...this.booked.keys()]
      .filter(key => !this.cancelled.has(key))
      .map(key => key.split('/')[1] ?? '');
  }
}

const play = (office: Office, content: string): Play => ({
  ...{agents: [trip(office), cashier], agentType: 'trip', content},
});

describeEachStore('a trip', at => {
  test('is booked whole', async () => {
    const office = new Office();
    const played = await playCalm(at, at.open(), play(office, 'train, hotel'));
    expect(played.final).toBe('Booked and paid: 200 euros, paid');
    expect(played.told.slice(0, 2)).toEqual([
      'state: Booked the train: train-1',
      'state: Booked the hotel: hotel-2',
    ]);
    expect(office.kept).toEqual(['train', 'hotel']);
  });

  test('is taken back, last first, when something fails in the middle', async () => {
    const office = new Office(['boat']);
    const played = await playCalm(at, at.open(), play(office, 'train, hotel, boat, bike'));
    expect(played.final).toBe('Nothing was booked: The boat is full.');
    expect(office.kept).toEqual([]);
    expect(office.calls.filter(call => call.startsWith('cancel'))).toEqual([
      'cancel boat',
      'cancel hotel',
      'cancel train',
    ]);
  });

  test('is taken back when another agent refuses to pay', async () => {
    const office = new Office();
    const played = await playCalm(at, at.open(), play(office, 'train, hotel, boat, bike'));
    expect(played.final).toBe('Nothing was booked: 400 euros are too much.');
    expect(office.booked.size).toBe(4);
    expect(office.kept).toEqual([]);
    at.breaksRules('dead-letters');
  });

  test('whose workers are killed 200 times reads as if nothing had happened, each booking made once', async () => {
    const calm = new Map<string, Awaited<ReturnType<typeof playCalm>>>();
    const wishes = ['train, hotel, car', 'train, hotel, boat, bike', 'train, full'];
    for (const wish of wishes)
      calm.set(wish, await playCalm(at, at.open(), play(new Office(['full']), wish)));
    let deaths = 0;
    for (let trips = 0; deaths < 200; trips++) {
      const wish = wishes[trips % wishes.length] ?? '';
      const office = new Office(['full']);
      // Few commands each: about as many as it takes to get one step further.
      const stormy = await playStormy(at, at.open(), play(office, wish), mortal(chance(trips), 60));
      deaths += stormy.deaths;
      expect(stormy.played, `trip ${trips}`).toEqual(calm.get(wish));
      const things = wish.split(', ').filter(what => what !== 'full');
      expect([...office.booked.keys()].map(key => key.split('/')[1])).toEqual(things);
      expect(office.kept).toEqual(wish === 'train, hotel, car' ? things : []);
      // A step that was cut off is done again; one whose result was kept never is.
      expect(office.steps).toEqual([...new Set(office.steps)]);
    }
    at.breaksRules('dead-letters');
  }, 120_000);
});
