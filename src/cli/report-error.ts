/** From anything thrown to what the user sees of it, and to the exit code. */
import {stripVTControlCharacters} from 'node:util';
import * as Errors from '@oclif/core/errors';
import {ByError, messageOf} from '../errors.js';
import {toSnakeCase} from './json.js';
import {paint, type Printer} from './printer.js';
import {redact, redactFacts} from '../redact.js';
import {suggest} from './suggest.js';

/** What the JSON of an error carries besides the codes of {@link ByError}. */
export interface Failure {
  readonly code: string;
  readonly exit: number;
  readonly message: string;
  readonly hint: string;
  readonly next: readonly string[];
  readonly details: unknown;
}

/** What a wrong command line is described with. */
export interface CommandLine {
  /** As typed: `deadletter replay`. */
  readonly command: string;
  readonly flagNames: readonly string[];
}

/** @returns The same as a {@link ByError}: oclif's parser errors as USAGE, everything unknown as INTERNAL. */
export function toByError(error: unknown, {command, flagNames}: CommandLine): ByError {
  if (error instanceof ByError) return withoutParserNoise(error);
  // A command that does not load is a CLIError too, and not the user's mistake.
  if (error instanceof Errors.CLIError && !(error instanceof Errors.ModuleLoadError)) {
    return usageError(error, command, flagNames);
  }
  return new ByError('INTERNAL', messageOf(error), {
    hint: 'This is a bug in by. Run it again with --verbose and report what it shows.',
    cause: error,
  });
}

/** What oclif puts around the message of an error thrown by a flag's own `parse`. */
const PARSER_NOISE = /^Parsing --([\w-]+) \n\t([\s\S]*?)\nSee more help with --help$/;

function withoutParserNoise(error: ByError): ByError {
  const [, flag, message] = PARSER_NOISE.exec(error.message) ?? [];
  if (flag === undefined || message === undefined) return error;
  const {code, hint, next, details, cause} = error;
  return new ByError(code, `--${flag}: ${message}`, {hint, next, details, cause});
}

function usageError(error: Errors.CLIError, command: string, flagNames: readonly string[]): ByError {
  const help = command === '' ? 'by --help' : `by ${command} --help`;
  const unknown = 'flags' in error && Array.isArray(error.flags) ? error.flags.map(String) : [];
  const [first] = unknown;
  if (first !== undefined) {
    const near = suggest(
      first,
      flagNames.map(name => `--${name}`),
    );
    const value = near === null ? '' : ` Did you mean ${near}?`;
    return new ByError('USAGE', `No such flag: ${unknown.join(', ')}.${value}`, {
      hint: `See ${help} for the flags there are.`,
      next: [help],
    });
  }
  return new ByError('USAGE', parserMessage(error), {hint: `See ${help}.`, next: [help], cause: error});
}

/** oclif's message in one line, without its heading and its footer. */
function parserMessage(error: Errors.CLIError): string {
  const [first = '', ...rest] = stripVTControlCharacters(error.message)
    .replace(/\nSee more help with --help$/, '')
    .replace(/^Parsing (--[\w-]+) \n\t/, '$1: ')
    .split('\n')
    .map(line => line.trim())
    .filter(line => line !== '');
  if (rest.length === 0) return sentence(first);
  return sentence(
    /^The following errors? occurred:$/.test(first) ? rest.join('; ') : `${first} ${rest.join('; ')}`,
  );
}

const sentence = (text: string) => (/[.!?]$/.test(text) ? text : `${text}.`);

/** @returns What may be shown of the error: secrets hidden, details in snake_case. */
export function describe(error: ByError): Failure {
  return {
    code: error.code,
    exit: error.exitCode,
    message: redact(error.message),
    hint: redact(error.hint),
    next: error.next.map(redact),
    details: redactFacts(toSnakeCase(error.details)),
  };
}

/** Prints a failure where it belongs: standard output in the JSON modes, standard error for people. */
export function printFailure(printer: Printer, failure: Failure, cause?: unknown): void {
  printer.endStream();
  if (printer.mode === 'text') printForPeople(printer, failure);
  else {
    // Warnings have no place in an error document.
    for (const warning of printer.warnings) printer.note(printer.symbol('warning'), ' ', warning);
    printer.document({ok: false, schema: 'by.error/1', error: failure});
  }
  if (!printer.isVerbose) return;
  for (let error = cause; error instanceof Error; error = error.cause) {
    for (const line of redact(error.stack ?? messageOf(error)).split('\n')) printer.detail(line);
  }
}

function printForPeople(printer: Printer, {code, message, hint, next}: Failure): void {
  const [first = '', ...rest] = message.split('\n');
  printer.err(paint.red(printer.symbol('error')), ' ', paint.bold(code), '  ', first);
  for (const line of rest) printer.err('  ', line);
  if (hint !== '') for (const line of hint.split('\n')) printer.err('  ', line);
  for (const command of next) printer.err('  ', paint.dim('try'), '  ', paint.cyan(command));
}
