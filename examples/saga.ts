/**
 * A trip is booked whole or not at all: what was booked before something fails is taken back, last first.
 *
 *   by send trip "train, hotel, boat" --follow      # the cashier refuses what costs more than 3 bookings
 *
 * A saga in place of a transaction: every booking is a step with a step that undoes it, and code that may be killed
 * between any two of them does both.
 */
import {defineAgent} from 'by-toolkit';

/** Where bookings are made. One key is one booking: repeating either call changes nothing. */
export interface Bookings {
  /** @returns the number of the booking. */
  book(what: string, key: string): Promise<string>;
  cancel(key: string): Promise<void>;
}

const PATIENCE = {maxAttempts: 3, baseMs: 5, maxMs: 50};

export const trip = (bookings: Bookings) =>
  defineAgent({
    type: 'trip',
    async run(ctx, ask) {
      const wanted = ask.text.split(',').map(what => what.trim());
      const undo: (() => Promise<unknown>)[] = [];
      try {
        for (const what of wanted) {
          // A process that dies in a step does it again: the key makes that the same booking.
          const key = `${ctx.executionId}/${what}`;
          // Noted before it is tried: a booking that reports a failure may have been made all the same.
          undo.push(() => ctx.step(`cancel ${what}`, () => bookings.cancel(key), {retry: PATIENCE}));
          const number = await ctx.step(`book ${what}`, () => bookings.book(what, key), {retry: PATIENCE});
          await ctx.emitState(`Booked the ${what}: ${number}`);
        }
        const receipt = await ctx.call('cashier', String(wanted.length));
        return {content: `Booked and paid: ${String(receipt)}`};
      } catch (error) {
        // Only what failed comes here. A wait does not: it is no exception.
        for (const takeBack of undo.reverse()) await takeBack();
        await ctx.emitState('Took everything back');
        return {content: `Nothing was booked: ${error instanceof Error ? error.message : 'it failed'}`};
      }
    },
  });

export const cashier = defineAgent({
  type: 'cashier',
  async run(ctx, ask) {
    const euros = 100 * Number(ask.text);
    // The bank takes its time; the worker does not wait for it.
    await ctx.sleep(5);
    return euros > 300
      ? {status: 'FAILED', content: `${euros} euros are too much.`}
      : {content: `${euros} euros, paid`};
  },
});

/** Bookings of this process, for trying the example out. */
export default trip({
  book: (what, key) => Promise.resolve(`${what.slice(0, 1).toUpperCase()}${key.length}`),
  cancel: () => Promise.resolve(),
});
