/** `--workspace`, of commands about schedules. */
import * as Flags from '@oclif/core/flags';
import {workspaceFromEnv} from '../config/load.js';
import {ByError} from '../errors.js';

export const workspaceFlag = () =>
  Flags.string({
    description: 'the workspace; default BY_WORKSPACE, or "default"',
    helpValue: 'NAME',
    helpGroup: 'GLOBAL',
  });

/** @throws {ByError} INVALID_INPUT for what can not name a workspace. */
export function workspaceOf({
  workspace = workspaceFromEnv() ?? 'default',
}: {
  readonly workspace?: string | undefined;
}): string {
  if (/^[a-z0-9][a-z0-9_-]{0,63}$/.test(workspace)) return workspace;
  throw new ByError('INVALID_INPUT', `"${workspace.slice(0, 80)}" can not be a workspace.`, {
    hint: 'Use small letters, digits, _ and - (at most 64, beginning with a letter or digit).',
  });
}
