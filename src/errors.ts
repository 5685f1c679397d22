/** Every error we throw on purpose: its code, the exit code it ends a command with, and whether a retry can help. */

const codes = {
  INTERNAL: {exit: 1, retryable: false},

  USAGE: {exit: 2, retryable: false},
  INVALID_INPUT: {exit: 2, retryable: false},
  INVALID_CONFIG: {exit: 2, retryable: false},
  MESSAGE_TOO_LARGE: {exit: 2, retryable: false},
  CRON_INVALID: {exit: 2, retryable: false},
  TIMEZONE_INVALID: {exit: 2, retryable: false},
  CRON_NEVER_FIRES: {exit: 2, retryable: false},
  INPUT_NEEDED: {exit: 2, retryable: false},
  WORKER_LOAD_FAILED: {exit: 2, retryable: false},
  PROVIDER_LOAD_FAILED: {exit: 2, retryable: false},
  PLUGIN_LOAD_FAILED: {exit: 2, retryable: false},
  POLICY_INVALID: {exit: 2, retryable: false},
  QUEUE_MODE_INVALID: {exit: 2, retryable: false},
  CURSOR_INVALID: {exit: 2, retryable: false},
  AMBIGUOUS_ID: {exit: 2, retryable: false},

  REDIS_UNREACHABLE: {exit: 3, retryable: true},
  REDIS_AUTH: {exit: 3, retryable: false},
  REDIS_TOO_OLD: {exit: 3, retryable: false},
  REDIS_WRONG_TYPE: {exit: 3, retryable: false},
  REDIS_REFUSED: {exit: 3, retryable: true},
  REDIS_TIMEOUT: {exit: 3, retryable: true},
  KEY_SCHEMA: {exit: 3, retryable: false},
  NOT_DURABLE: {exit: 3, retryable: true},
  HISTORY_UNAVAILABLE: {exit: 3, retryable: true},
  HISTORY_SCHEMA: {exit: 3, retryable: false},

  NOT_FOUND: {exit: 4, retryable: false},
  AGENT_NOT_FOUND: {exit: 4, retryable: false},
  TASK_NOT_FOUND: {exit: 4, retryable: false},
  RUN_NOT_FOUND: {exit: 4, retryable: false},
  APPROVAL_NOT_FOUND: {exit: 4, retryable: false},
  SCHEDULE_NOT_FOUND: {exit: 4, retryable: false},

  AGENT_TYPE_UNAVAILABLE: {exit: 5, retryable: true},
  AGENT_CIRCUIT_OPEN: {exit: 5, retryable: true},
  TENANT_QUOTA_EXCEEDED: {exit: 5, retryable: true},
  QUEUE_FULL: {exit: 5, retryable: true},
  DEAD_LETTERS_FULL: {exit: 5, retryable: true},
  WORKER_NOT_ONLINE: {exit: 5, retryable: true},
  AGENT_TYPE_EXHAUSTED: {exit: 5, retryable: true},
  WORKER_EXHAUSTED: {exit: 5, retryable: true},
  WORKER_RESERVED: {exit: 5, retryable: true},
  SERVICE_UNAVAILABLE: {exit: 5, retryable: true},

  TASK_FAILED: {exit: 6, retryable: false},
  ATTEMPTS_EXHAUSTED: {exit: 6, retryable: false},
  DEADLINE_EXCEEDED: {exit: 6, retryable: false},
  TASK_CANCELLED: {exit: 7, retryable: false},
  PARENT_CANCELLED: {exit: 7, retryable: false},
  TIMEOUT: {exit: 8, retryable: true},
  INPUT_REQUIRED: {exit: 9, retryable: false},
  PARTIAL: {exit: 10, retryable: false},

  CONFLICT: {exit: 11, retryable: false},
  SCHEDULE_EXISTS: {exit: 11, retryable: false},
  STATE_CONFLICT: {exit: 11, retryable: true},
  VERSION_CONFLICT: {exit: 11, retryable: false},
  WORKER_ID_TAKEN: {exit: 11, retryable: true},
  ALREADY_REPLAYED: {exit: 11, retryable: false},
  ALREADY_ANSWERED: {exit: 11, retryable: false},
  ANSWER_TOO_LATE: {exit: 11, retryable: false},
  NOT_WAITING: {exit: 11, retryable: false},
  PAYLOAD_LOST: {exit: 11, retryable: false},
  DIRECTORY_NOT_EMPTY: {exit: 11, retryable: false},
  JOURNAL_MISMATCH: {exit: 11, retryable: false},
  JOURNAL_TOO_LARGE: {exit: 11, retryable: false},
  SUSPENSION_SWALLOWED: {exit: 11, retryable: false},
  CALLS_TOO_DEEP: {exit: 11, retryable: false},
  FENCED: {exit: 11, retryable: false},
  LEASE_LOST: {exit: 11, retryable: true},
  AGENT_EXISTS: {exit: 11, retryable: false},
  AGENT_INACTIVE: {exit: 11, retryable: false},
  AGENT_IN_USE: {exit: 11, retryable: false},
  IDEMPOTENCY_CONFLICT: {exit: 11, retryable: false},
  TASK_FINAL: {exit: 11, retryable: false},
  TASK_ARCHIVED: {exit: 11, retryable: false},
  TASK_NOT_ARCHIVABLE: {exit: 11, retryable: false},
  SESSION_BUSY: {exit: 11, retryable: true},
  INTERRUPT_DRAIN_TIMEOUT: {exit: 11, retryable: true},
  APPROVAL_ALREADY_DECIDED: {exit: 11, retryable: false},
  STATUS_TRANSITION_INVALID: {exit: 11, retryable: false},

  FINDINGS: {exit: 12, retryable: false},
  DENIED: {exit: 13, retryable: false},
  TOOL_DENIED: {exit: 13, retryable: false},
  APPROVAL_DENIED: {exit: 13, retryable: false},
  APPROVAL_EXPIRED: {exit: 13, retryable: false},
  APPROVAL_SUBJECT_CHANGED: {exit: 13, retryable: true},
  POLICY_UNENFORCEABLE: {exit: 13, retryable: false},
  WORKSPACE_ESCAPE: {exit: 13, retryable: false},
} as const satisfies Record<string, {exit: number; retryable: boolean}>;

export type ErrorCode = keyof typeof codes;

export const errorCodes = Object.keys(codes) as readonly ErrorCode[];

export interface ErrorOptions {
  /** What to do now, in the imperative, naming the thing at fault. */
  readonly hint: string;
  readonly cause?: unknown;
  /** Commands worth typing next, shown after the hint and as `next` in JSON. */
  readonly next?: readonly string[];
  /** Facts for programs, shown as `details` in JSON. Never a secret. */
  readonly details?: Readonly<Record<string, unknown>>;
}

/** The one error we throw on purpose. Anything else that surfaces is a bug. Branch on `code`, never on the text. */
export class ByError extends Error {
  override readonly name = 'ByError';
  readonly hint: string;
  readonly next: readonly string[];
  readonly details: Readonly<Record<string, unknown>>;

  constructor(
    readonly code: ErrorCode,
    message: string,
    {hint, cause, next = [], details = {}}: ErrorOptions,
  ) {
    super(message, {cause});
    this.hint = hint;
    this.next = next;
    this.details = details;
  }

  get exitCode(): number {
    return codes[this.code].exit;
  }

  get retryable(): boolean {
    return codes[this.code].retryable;
  }
}

/** The message of whatever was thrown; never empty. */
export function messageOf(error: unknown): string {
  if (error instanceof Error) return error.message || error.name;
  return String(error);
}
