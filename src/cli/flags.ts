/** Flags that several commands share. Their help lives here, once. */
import * as Flags from '@oclif/core/flags';
import {DURABILITIES, type Durability} from '../config/connection.js';
import {ByError} from '../errors.js';
import {CONSUMER_GROUP} from '../protocol/keys.js';
import {formatDuration, parseDuration} from './duration.js';
import {hasPassword} from '../redact.js';

const helpGroup = 'GLOBAL';

/** A flag whose value is a duration, parsed to milliseconds. */
export const durationFlag = Flags.custom<number, {readonly min?: number}>({
  helpValue: 'DURATION',
  // In the words in which it is given.
  defaultHelp: async ({options: {default: ms}}) => (typeof ms === 'number' ? formatDuration(ms) : undefined),
  parse: async (text, _command, {min = 0}) => {
    const ms = parseDuration(text);
    if (ms >= min) return ms;
    throw new ByError('INVALID_INPUT', `"${text}" is too short.`, {
      hint: `Give ${formatDuration(min)} or more.`,
    });
  },
});

/** A share of something: `0.5` or `50%`. Above 0, up to 1. */
export const shareFlag = Flags.custom<number>({
  helpValue: 'SHARE',
  parse: async text => {
    const [, amount = '', percent] = /^(\d{1,3}(?:\.\d{1,6})?)(%?)$/.exec(text) ?? [];
    const share = amount === '' ? NaN : Number(amount) / (percent === '%' ? 100 : 1);
    if (share > 0 && share <= 1) return share;
    throw new ByError('INVALID_INPUT', `"${text}" is not a share.`, {hint: 'Write for example 50% or 0.5.'});
  },
});

/**
 * `-o` of a command that has more forms of output than table and JSON: spread the result into its `flags` as
 * `output`. `jsonl` prints events, `name` ids only, `raw` the bare text.
 */
export const outputFlag = <Form extends string>(...forms: readonly Form[]) =>
  Flags.option({
    char: 'o',
    options: forms,
    description: 'form of the output',
    helpGroup,
  })();

/** `--session`, of commands about one session that also know `--last`. */
export const sessionFlag = () =>
  Flags.string({char: 's', description: 'the session', helpValue: 'ID', exclusive: ['last']});

/** `--user-code`, of commands about one session. */
export const userFlag = () =>
  Flags.string({
    description: 'act for this user, who has only the sessions first used for them',
    helpValue: 'USER',
  });

export const lastFlag = () =>
  Flags.boolean({description: 'the session heard of last; walks the keys of the server'});

/** For decisions of operators; what shows a plan of its own says so itself. */
export const dryRunFlag = () =>
  Flags.boolean({description: 'say what would be done, and do nothing', default: false});

export const groupFlag = () =>
  Flags.string({
    description: 'consumer group; all workers of an agent type share one',
    default: CONSUMER_GROUP,
    helpValue: 'NAME',
  });

export const redisTracesFlag = () =>
  Flags.boolean({
    description: 'keep traces in Redis for 15 minutes, for `by trace` (default: as by.config says)',
  });

/** What every command has. */
export const generalFlags = {
  json: Flags.boolean({description: 'one JSON document on standard output, also for errors', helpGroup}),
  output: Flags.string({
    char: 'o',
    options: ['table', 'json'],
    description: 'form of the output',
    helpGroup,
  }),
  'no-trunc': Flags.boolean({description: 'never cut a table to the width of the terminal', helpGroup}),
  color: Flags.option({
    options: ['auto', 'always', 'never'] as const,
    default: 'auto',
    description: 'colours; NO_COLOR and FORCE_COLOR count too',
    helpGroup,
  })(),
  'no-color': Flags.boolean({hidden: true}),
  quiet: Flags.boolean({char: 'q', description: 'no notices on standard error', helpGroup}),
  verbose: Flags.boolean({char: 'v', description: 'more on standard error, also stacks', helpGroup}),
  'no-input': Flags.boolean({description: 'never ask; fail and name what is missing', helpGroup}),
  yes: Flags.boolean({
    char: 'y',
    description: 'confirm what would be asked (never means --force)',
    helpGroup,
  }),
  timeout: durationFlag({description: 'end the command after this long', helpGroup}),
};

/** What every command that talks to Redis has besides. */
export const connectionFlags = {
  'redis-url': Flags.string({
    description: 'Redis to use: redis:// or rediss://, without a password; BY_REDIS_URL may carry one',
    helpValue: 'URL',
    helpGroup,
    parse: async url => {
      if (!hasPassword(url)) return url;
      throw new ByError(
        'USAGE',
        'The URL carries a password, and every user of this machine can read it there.',
        {
          hint: 'Put the URL in BY_REDIS_URL, or leave the password out and give it to --redis-password-stdin.',
        },
      );
    },
  }),
  'redis-password-stdin': Flags.boolean({description: 'read the password from standard input', helpGroup}),
  'key-schema': Flags.option({
    options: ['v1', 'v2'] as const,
    description: 'layout of the keys; default as the SDKs choose it',
    helpGroup,
  })(),
  durability: Flags.option({
    options: DURABILITIES,
    description: 'refuse a server that keeps less: D0 survives our processes, D1 Redis, D2 its machine',
    helpGroup,
  })(),
};

/** Where to connect, as far as the flags say. */
export interface ConnectionChoice {
  readonly redisUrl: string | undefined;
  readonly redisPassword: string | undefined;
  readonly keySchema: 'v1' | 'v2' | undefined;
  readonly durability: Durability | undefined;
}
