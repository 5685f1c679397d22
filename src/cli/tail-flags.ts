/** Flags of `by tail` and its forms. */
import * as Flags from '@oclif/core/flags';

export const tailFlags = {
  lines: Flags.string({
    char: 'n',
    description: 'how many of the last lines to begin with, or all',
    default: '50',
    helpValue: 'N|all',
  }),
  since: Flags.string({
    description: 'begin here: 10m, an ISO date, or a stream id',
    helpValue: 'TIME',
    exclusive: ['from'],
  }),
  from: Flags.string({
    description: 'begin after this stream id, as a stopped tail prints it',
    helpValue: 'ID',
  }),
  follow: Flags.boolean({char: 'f', description: 'wait for more (default in a terminal)', allowNo: true}),
  agent: Flags.string({char: 'a', description: 'only this agent type', helpValue: 'TYPE'}),
  include: Flags.string({
    char: 'i',
    description: 'only text that fits this regular expression',
    helpValue: 'RE',
  }),
  exclude: Flags.string({
    char: 'x',
    description: 'no text that fits this regular expression',
    helpValue: 'RE',
  }),
  timestamps: Flags.boolean({char: 't', description: 'show the time'}),
};
