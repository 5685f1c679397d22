/** Flags that commands of tasks and runs share. */
import * as Flags from '@oclif/core/flags';
import {workspaceFromEnv} from '../../config/load.js';
import {ByError} from '../../errors.js';
import {checkWorkspace, DEFAULT_WORKSPACE} from '../../protocol/orchestration/keys.js';
import {durationFlag} from '../flags.js';
import {parseTimePoint} from '../time.js';

/** `--workspace`: the flag, BY_WORKSPACE, `default`. */
export const workspaceFlag = () =>
  Flags.string({
    description: 'workspace of the tasks; BY_WORKSPACE, else "default"',
    helpValue: 'NAME',
    default: async () => workspaceFromEnv() ?? DEFAULT_WORKSPACE,
    parse: async name => {
      checkWorkspace(name);
      return name;
    },
  });

export const cancelFlags = {
  mode: Flags.option({
    options: ['graceful', 'force'] as const,
    default: 'graceful',
    description: 'ask what runs to stop, or end it here and now',
  })(),
  reason: Flags.string({description: 'why; kept with the run', default: ''}),
  wait: Flags.boolean({description: 'until nothing runs any more; --timeout bounds it'}),
};

export const limitFlag = () => Flags.integer({description: 'most rows', default: 50, min: 1, max: 200});
export const cursorFlag = () => Flags.string({description: 'where the page before ended'});
export const sinceFlag = () =>
  Flags.string({description: 'accepted since: 10m, an ISO date', helpValue: 'TIME'});

export const delayFlags = {
  delay: durationFlag({description: 'begin no sooner than after this', exclusive: ['at']}),
  at: Flags.string({description: 'begin no sooner than then (ISO date)', helpValue: 'TIME'}),
  expires: durationFlag({description: 'drop it if it has not begun by then'}),
};

/** @throws {ByError} INVALID_INPUT for what is no moment. */
export function momentOf(text: string, nowMs: number): number {
  const point = parseTimePoint(text, nowMs);
  if (point.kind === 'time') return point.ms;
  throw new ByError('INVALID_INPUT', `"${text}" is no moment.`, {
    hint: 'Write for example 2026-05-01T10:00:00Z.',
  });
}
