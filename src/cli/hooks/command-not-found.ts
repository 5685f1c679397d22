/** oclif's `command_not_found` hook: one line with the nearest name, exit 2, JSON under --json. */
import * as Errors from '@oclif/core/errors';
import type {Hook} from '@oclif/core/hooks';
import {ByError} from '../../errors.js';
import {peek, printerFor} from '../local-command.js';
import {describe, printFailure} from '../report-error.js';
import {suggest} from '../suggest.js';

const hook: Hook.CommandNotFound = async ({id, argv = [], config}) => {
  const typed = id.replaceAll(':', ' ');
  const names = config.commands
    .filter(command => !command.hidden)
    .flatMap(command => [command.id, ...command.aliases])
    .map(name => name.replaceAll(':', ' '));
  // oclif takes what follows for part of the name: `by snd echo hi` is looked up whole, then ever shorter.
  const words = typed.split(' ');
  const near = words
    .map((_, at) => suggest(words.slice(0, words.length - at).join(' '), names))
    .find(found => found !== null);
  const error = new ByError('USAGE', message(typed, near), {
    hint: 'See by --help for the commands there are.',
    next: [near === undefined ? 'by --help' : `by ${near} --help`],
  });
  // The id is part of what was typed: `by --json sned` has the flag in place of the command.
  printFailure(printerFor(peek([...id.split(':'), ...argv])), describe(error));
  throw new Errors.ExitError(error.exitCode);
};

function message(typed: string, near: string | undefined): string {
  if (typed.startsWith('-')) return `"${typed}" comes before the command; flags follow it.`;
  return near === undefined
    ? `"${typed}" is not a command.`
    : `"${typed}" is not a command; did you mean "${near}"?`;
}

export default hook;
