/** The embedded store and a real server side by side, and a property that they cannot be told apart. */
import fc from 'fast-check';
import {startEmbeddedStore, type EmbeddedStore} from '../../../../src/dev/embedded/start.js';
import {RawClient, type Wire} from './raw-client.js';
import {startRealRedis, type RealRedis} from './real-redis.js';
import {normalise, sameReply} from './same-reply.js';

export type Command = readonly string[];

/** How many random sequences all families run together. */
export const TOTAL_RUNS = Number(process.env.BY_DIFFERENTIAL_RUNS ?? 5000);

/**
 * The gate runs the same sequences every time, so that it never depends on luck; a longer run, asked for by
 * BY_DIFFERENTIAL_RUNS, looks where nobody has looked yet.
 */
const SEED = process.env.BY_DIFFERENTIAL_RUNS === undefined ? {seed: 20_261_121} : {};

export class TwoServers {
  private constructor(
    readonly real: RealRedis,
    readonly embedded: EmbeddedStore,
    private readonly toReal: RawClient,
    private readonly toEmbedded: RawClient,
  ) {}

  static async start(): Promise<TwoServers> {
    const [real, embedded] = await Promise.all([startRealRedis(), startEmbeddedStore()]);
    const clients = await Promise.all([RawClient.connect(real.port), RawClient.connect(embedded.port)]);
    return new TwoServers(real, embedded, ...clients);
  }

  async stop(): Promise<void> {
    this.toReal.close();
    this.toEmbedded.close();
    await Promise.all([this.real.stop(), this.embedded.close()]);
  }

  /** Run the same commands on both, from nothing, in one pipeline each; throws at the first reply that differs. */
  async compare(commands: readonly Command[], setUp: readonly Command[] = []): Promise<void> {
    const all = [['DISCARD'], ['UNWATCH'], ['FLUSHALL'], ...setUp, ...commands];
    const [real, embedded] = await Promise.all([this.toReal.batch(all), this.toEmbedded.batch(all)]);
    all.forEach((command, index) => {
      const expected = real[index]!;
      const got = embedded[index]!;
      if (!sameReply(command, expected, got))
        throw new Error(difference(all.slice(2, index + 1), expected, got, setUp.length));
    });
  }

  /** A share of all runs, in per cent. */
  async check(
    share: number,
    step: fc.Arbitrary<Command | readonly Command[]>,
    setUp: readonly Command[] = [],
  ): Promise<void> {
    const steps = fc
      .array(step, {minLength: 1, maxLength: 40, size: 'max'})
      .map(found => found.flatMap(one => (isCommand(one) ? [one] : one)));
    await fc.assert(
      fc.asyncProperty(steps, commands => this.compare(commands, setUp)),
      {numRuns: Math.ceil((TOTAL_RUNS * share) / 100), ...SEED},
    );
  }
}

const isCommand = (step: Command | readonly Command[]): step is Command => typeof step[0] === 'string';

/** A long set-up is not shown whole. */
const SHOWN_SET_UP = 10;

function difference(commands: readonly Command[], expected: Wire, got: Wire, setUp: number): string {
  const last = commands.at(-1)!;
  return [
    'the two servers differ after:',
    ...commands
      .slice(Math.max(0, setUp - SHOWN_SET_UP))
      .map(command => `  ${command.map(word => JSON.stringify(word)).join(' ')}`),
    `real:     ${JSON.stringify(normalise(last, expected))}`,
    `embedded: ${JSON.stringify(normalise(last, got))}`,
  ].join('\n');
}

/** One of these words. */
export const one = (...words: string[]) => fc.constantFrom(...words);

/** A command from words and generators of words; a generator may give several, or none. */
export function shape(
  ...parts: (string | fc.Arbitrary<string> | fc.Arbitrary<readonly string[]>)[]
): fc.Arbitrary<Command> {
  const generators = parts.map(part =>
    typeof part === 'string' ? fc.constant([part]) : (part as fc.Arbitrary<string | readonly string[]>),
  );
  return fc.tuple(...generators).map(words => words.flat());
}

/** Some of these words, or none: `maybe(shape('COUNT', one('1', '2')))`. */
export const maybe = (words: fc.Arbitrary<Command>): fc.Arbitrary<string[]> =>
  fc.option(words, {nil: [], freq: 2}).map(found => [...found]);

export const several = (word: fc.Arbitrary<string>, most = 3): fc.Arbitrary<string[]> =>
  fc.array(word, {minLength: 1, maxLength: most});

export const severalOf = (words: fc.Arbitrary<Command>, most = 3): fc.Arbitrary<string[]> =>
  fc.array(words, {minLength: 1, maxLength: most}).map(found => found.flat());

export const anyOf = <T>(...commands: fc.Arbitrary<T>[]): fc.Arbitrary<T> => fc.oneof(...commands);
