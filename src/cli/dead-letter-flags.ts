/** Flags that the commands about dead letters share. */
import * as Flags from '@oclif/core/flags';
import {ByError} from '../errors.js';
import {DEADLETTER_SOURCES} from '../protocol/deadletter.js';
import type {DeadLetterFilter} from './dead-letter-filter.js';

/** Which letters. `list` calls the pattern --reason; where --reason says why one acts, it is --reason-match. */
export const filterFlags = () => ({
  agent: Flags.string({description: 'only this agent type', helpValue: 'TYPE'}),
  code: Flags.string({description: 'only this code, for example EXECUTION_FAILED'}),
  source: Flags.option({
    options: DEADLETTER_SOURCES,
    description: 'only those that came this way',
  })(),
  'user-code': Flags.string({description: 'only commands of this user', helpValue: 'USER'}),
  region: Flags.string({description: 'only this region'}),
  since: Flags.string({
    description: 'only newer than this: 10m, an ISO date, epoch milliseconds or an id',
    helpValue: 'TIME',
  }),
  until: Flags.string({description: 'only older than this', helpValue: 'TIME'}),
  replayable: Flags.option({
    options: ['yes', 'no'] as const,
    description: 'only those that can (not) be replayed',
  })(),
});

interface FilterValues {
  readonly agent?: string | undefined;
  readonly code?: string | undefined;
  readonly source?: string | undefined;
  readonly 'user-code'?: string | undefined;
  readonly region?: string | undefined;
  readonly since?: string | undefined;
  readonly until?: string | undefined;
  readonly replayable?: string | undefined;
  readonly limit: number;
}

/** The filter these flags mean. */
export function filterOf(
  flags: FilterValues,
  {reason, replayed}: Pick<DeadLetterFilter, 'reason' | 'replayed'>,
): DeadLetterFilter {
  const {agent, code, source, region, since, until, replayable, limit} = flags;
  const userCode = flags['user-code'];
  return {agent, code, source, userCode, region, since, until, replayable, limit, reason, replayed};
}

/** `5/s`, `30/m`, `100/h`, or a bare number of them in a second. */
export const rateFlag = Flags.custom<number>({
  helpValue: 'N/s',
  parse: async text => parseRate(text),
});

const SECONDS = {s: 1, m: 60, h: 3600} as const;

/** @returns how many in a second. @throws {ByError} INVALID_INPUT */
export function parseRate(text: string): number {
  const [, amount = '', unit = 's'] = /^(\d{1,6}(?:\.\d{1,3})?)(?:\/(s|m|h))?$/.exec(text) ?? [];
  const rate = Number(amount) / SECONDS[unit as keyof typeof SECONDS];
  if (amount !== '' && rate > 0) return rate;
  throw new ByError('INVALID_INPUT', `"${text}" is no rate.`, {
    hint: 'Write a number and what it is per: 5/s, 30/m or 100/h.',
  });
}
