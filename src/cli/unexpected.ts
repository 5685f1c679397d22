/** What bin/by.js calls for an error that no command caught: a broken installation, a command that does not load. */
import {peek, printerFor} from './local-command.js';
import {describe, printFailure, toByError} from './report-error.js';

/** Prints it like any other error. @returns The exit code. */
export function printUnexpected(error: unknown, argv: readonly string[]): number {
  const known = toByError(error, {command: '', flagNames: []});
  printFailure(printerFor(peek(argv)), describe(known), known.cause ?? known);
  return known.exitCode;
}
