/** Flags of profiles. */
import * as Flags from '@oclif/core/flags';
import {workspaceFlag} from './flags.js';

export const profileFlags = () => ({
  type: Flags.string({description: 'agent type it stands for; default its key', helpValue: 'TYPE'}),
  name: Flags.string({description: 'for people'}),
  config: Flags.string({description: 'file with a JSON object; no secrets', helpValue: '@FILE'}),
  policy: Flags.string({description: 'file with the policy its tasks have at least', helpValue: '@FILE'}),
  concurrency: Flags.integer({description: 'runs of each pool at once; 0 pauses', min: 0, max: 1000}),
  threshold: Flags.integer({description: 'failures in a row that degrade a pool', min: 1, max: 1000}),
  active: Flags.boolean({description: 'it takes tasks', allowNo: false, exclusive: ['inactive']}),
  inactive: Flags.boolean({description: 'it takes no tasks'}),
  workspace: workspaceFlag(),
});

export const activity = ({
  active,
  inactive,
}: {
  readonly active: boolean | undefined;
  readonly inactive: boolean | undefined;
}): boolean | undefined => (active === true ? true : inactive === true ? false : undefined);
