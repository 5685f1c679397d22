/** Deadlines of executions: an instant by Redis's clock, in the record, after which nobody wants the answer any more. */
import {integerOf} from './fields.js';
import type {ExecutionRecord} from './execution.js';

/** Longest deadline, in milliseconds: as long as the session is kept. */
export const MAX_DEADLINE_MS = 604_800_000;

/** @returns Unix milliseconds by Redis's clock; undefined if it has none. */
export function deadlineOf(record: ExecutionRecord): number | undefined {
  const at = integerOf(record.extra['x_deadline'], 0);
  return at > 0 ? at : undefined;
}

/** Why an execution ended by its deadline. @param more what is known beside, for people. */
export const deadlineText = (more = ''): string =>
  `Its deadline passed before it ended${more === '' ? '' : `: ${more}`}.`;
