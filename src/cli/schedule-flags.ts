/** What `by schedule create` and `by schedule update` are told. */
import {readFile} from 'node:fs/promises';
import * as Flags from '@oclif/core/flags';
import {ByError, messageOf} from '../errors.js';
import type {PolicyRequest} from '../protocol/orchestration/policy.js';
import {
  MISSED_POLICIES,
  OVERLAP_POLICIES,
  SESSION_MODES,
  TASK_PRIORITIES,
  type CreateScheduleParams,
} from '../protocol/orchestration/schedule.js';
import {durationFlag} from './flags.js';
import {parseDuration} from './duration.js';
import {policyFile} from './tasks/policy-flags.js';

const NONE = 'none';

/** A moment: ISO 8601 with its offset, a date (midnight in UTC), or epoch milliseconds. */
export function parseMoment(text: string): number {
  const ms = /^\d{12,14}$/.test(text) ? Number(text) : /^\d{4}-\d\d-\d\d/.test(text) ? Date.parse(text) : NaN;
  if (Number.isNaN(ms))
    throw new ByError('INVALID_INPUT', `"${text}" is not a moment.`, {
      hint: 'Write for example 2026-05-01, 2026-05-01T10:00:00Z or 2026-05-01T10:00:00+02:00.',
    });
  if (/T/.test(text) && !/(?:Z|[+-]\d\d:?\d\d)$/i.test(text))
    throw new ByError('INVALID_INPUT', `"${text}" does not say of which zone it is.`, {
      hint: `Add Z for UTC, or an offset: ${text}Z or ${text}+02:00.`,
    });
  return ms;
}

/** As {@link parseMoment}, or a duration ago. */
export function parseMomentOrAgo(text: string, nowMs: number): number {
  return /^\d+(?:\.\d+)?(?:ms|s|m|h|d)$/.test(text) ? nowMs - parseDuration(text) : parseMoment(text);
}

/** A moment, or `none`. */
const momentFlag = Flags.custom<number | null>({
  helpValue: 'TIME',
  parse: async text => (text === NONE ? null : parseMoment(text)),
});

const countFlag = Flags.custom<number | null>({
  helpValue: 'N',
  parse: async text => {
    if (text === NONE) return null;
    if (/^[1-9]\d{0,8}$/.test(text)) return Number(text);
    throw new ByError('INVALID_INPUT', `"${text}" is not a number of runs.`, {
      hint: 'Write 1 or more, or none.',
    });
  },
});

const cron = {description: 'five fields: minute hour day month weekday', helpValue: 'EXPRESSION'};
const agent = {
  ...{char: 'a' as const, description: 'who does it: an agent type, or an agt_ id', helpValue: 'AGENT'},
};
const prompt = {description: 'what to do; @FILE reads it, - takes standard input', helpValue: 'TEXT'};

/** What a new schedule must have. */
export const requiredFlags = {
  cron: Flags.string({...cron, required: true}),
  agent: Flags.string({...agent, required: true}),
  prompt: Flags.string({...prompt, required: true}),
};

/** All that may be said of a schedule. */
export const definitionFlags = {
  cron: Flags.string(cron),
  tz: Flags.string({
    description: 'time zone whose clocks count, for example Europe/Berlin',
    helpValue: 'ZONE',
  }),
  agent: Flags.string(agent),
  prompt: Flags.string(prompt),
  missed: Flags.option({
    options: MISSED_POLICIES,
    description: 'ticks nobody was there for: skip them, fire the last one once, or all',
  })(),
  catchup: durationFlag({description: 'how late a tick may still fire, from 10s to 365d'}),
  overlap: Flags.option({
    options: OVERLAP_POLICIES,
    description:
      'if the task before has not ended: skip the tick, queue it, allow both, or cancel the one before',
  })(),
  jitter: durationFlag({description: 'spread the ticks over so much time, the same for each tick; up to 5m'}),
  starts: momentFlag({description: 'no tick before; none takes it away'}),
  ends: momentFlag({description: 'no tick after; none takes it away'}),
  'max-runs': countFlag({description: 'end after so many tasks; none takes it away'}),
  'session-mode': Flags.option({
    options: SESSION_MODES,
    description: 'a fresh session for each tick, or one for all (sticky)',
  })(),
  skill: Flags.string({
    description: 'path of a skill for the agent; may be given again',
    multiple: true,
    helpValue: 'PATH',
  }),
  'pause-after-failures': Flags.integer({
    description: 'pause after so many ticks in a row that could not be submitted; 0 never',
    min: 0,
    max: 1000,
  }),
  lane: Flags.string({description: "lane of its tasks; default the schedule's own", helpValue: 'NAME'}),
  priority: Flags.option({options: TASK_PRIORITIES, description: 'priority of its tasks'})(),
  'attempt-timeout': durationFlag({description: 'how long each attempt of its tasks may take; 0s for ever'}),
  policy: Flags.string({description: 'JSON file with the execution policy of its tasks', helpValue: '@FILE'}),
};

export interface DefinitionFlags {
  readonly cron?: string | undefined;
  readonly tz?: string | undefined;
  readonly agent?: string | undefined;
  readonly prompt?: string | undefined;
  readonly missed?: (typeof MISSED_POLICIES)[number] | undefined;
  readonly catchup?: number | undefined;
  readonly overlap?: (typeof OVERLAP_POLICIES)[number] | undefined;
  readonly jitter?: number | undefined;
  readonly starts?: number | null | undefined;
  readonly ends?: number | null | undefined;
  readonly 'max-runs'?: number | null | undefined;
  readonly 'session-mode'?: (typeof SESSION_MODES)[number] | undefined;
  readonly skill?: string[] | undefined;
  readonly 'pause-after-failures'?: number | undefined;
  readonly lane?: string | undefined;
  readonly priority?: (typeof TASK_PRIORITIES)[number] | undefined;
  readonly 'attempt-timeout'?: number | undefined;
  readonly policy?: string | undefined;
}

/** @throws {ByError} USAGE, INVALID_INPUT for a file that can not be read. @returns only what was given; null takes away. */
export async function definitionOfFlags(flags: DefinitionFlags, readStdin: () => Promise<string>) {
  const policy = flags.policy === undefined ? undefined : await readPolicy(flags.policy);
  const taskDefaults = given({
    ...{lane: flags.lane, priority: flags.priority, timeoutMs: flags['attempt-timeout'], policy},
  });
  const [agentId, agentType] = flags.agent?.startsWith('agt_') ? [flags.agent] : [undefined, flags.agent];
  return given({
    ...{cronExpr: flags.cron, timezone: flags.tz, agentId, agentType},
    prompt: flags.prompt === undefined ? undefined : await readPrompt(flags.prompt, readStdin),
    ...{missedPolicy: flags.missed, catchupWindowMs: flags.catchup, overlapPolicy: flags.overlap},
    ...{jitterMs: flags.jitter, startsAt: flags.starts, endsAt: flags.ends, maxRuns: flags['max-runs']},
    ...{sessionMode: flags['session-mode'], skillPaths: flags.skill},
    pauseAfterFailures: flags['pause-after-failures'],
    taskDefaults: Object.keys(taskDefaults).length === 0 ? undefined : taskDefaults,
  });
}

type Given<T> = {[K in keyof T]?: Exclude<T[K], undefined>};
const given = <T extends object>(values: T): Given<T> =>
  Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as Given<T>;

/** For a new schedule there is nothing to take away. */
export const withoutNulls = (values: object): Partial<CreateScheduleParams> =>
  Object.fromEntries(Object.entries(values).filter(([, value]) => value !== null));

async function readPrompt(text: string, readStdin: () => Promise<string>): Promise<string> {
  if (text === '-') return readStdin();
  return text.startsWith('@') ? readText(text.slice(1), '--prompt') : text;
}

async function readPolicy(text: string): Promise<PolicyRequest> {
  if (!text.startsWith('@'))
    throw new ByError('USAGE', '--policy takes a file.', {hint: 'Write --policy @policy.json.'});
  return policyFile(text);
}

async function readText(file: string, flag: string): Promise<string> {
  try {
    return await readFile(file, 'utf8');
  } catch (cause) {
    throw new ByError('INVALID_INPUT', `The file of ${flag} can not be read: ${messageOf(cause)}`, {
      ...{hint: 'Name a file that exists.', cause},
    });
  }
}
