/** What an exit code of `by` means: the table of `by explain exit-codes` and the reference. */
import {ByError, errorCodes, type ErrorCode} from '../errors.js';

export interface ExitCode {
  readonly code: number;
  readonly name: string;
  readonly when: string;
}

export const exitCodes: readonly ExitCode[] = [
  {code: 0, name: 'OK', when: 'The command did what it says. A task that was queued counts.'},
  {code: 1, name: 'INTERNAL', when: 'A bug in by, or an error nobody classified.'},
  {
    code: 2,
    name: 'USAGE',
    when: 'A wrong flag, argument, command or configuration; or input nobody could give.',
  },
  {
    code: 3,
    name: 'CONNECTION',
    when: 'Redis could not be reached or refused: network, password, version, schema.',
  },
  {code: 4, name: 'NOT_FOUND', when: 'No such session, worker, execution, entry or agent type.'},
  {code: 5, name: 'UNAVAILABLE', when: 'A policy refused: nobody online, circuit open, quota used up.'},
  {code: 6, name: 'TASK_FAILED', when: 'The command waited, and the execution ended FAILED.'},
  {code: 7, name: 'TASK_CANCELLED', when: 'The command waited, and the execution ended CANCELLED.'},
  {code: 8, name: 'TIMEOUT', when: 'The deadline of --timeout or --availability-timeout passed.'},
  {code: 9, name: 'INPUT_REQUIRED', when: 'The agent asked a question and nobody could answer here.'},
  {code: 10, name: 'PARTIAL', when: 'Some items of a bulk action failed; the report lists them.'},
  {code: 11, name: 'CONFLICT', when: 'Already done, already there, or owned by someone else.'},
  {code: 12, name: 'FINDINGS', when: 'A check found something to report.'},
  {code: 13, name: 'DENIED', when: 'A policy or an approval refused the action.'},
  {code: 75, name: 'NOT_READY', when: 'A worker lost Redis for too long and stopped; start it again.'},
  {code: 129, name: 'SIGHUP', when: 'The terminal went away; clean-up was done.'},
  {code: 130, name: 'SIGINT', when: 'Interrupted with Ctrl-C; clean-up was done.'},
  {code: 143, name: 'SIGTERM', when: 'Asked to stop; clean-up was done.'},
];

/** @returns The error codes that end a command with this exit code. */
export function errorCodesFor(exitCode: number): readonly ErrorCode[] {
  return errorCodes.filter(code => new ByError(code, '', {hint: ''}).exitCode === exitCode);
}
