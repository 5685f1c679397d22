/** What was decided about a task, as data. Decisions are made by pure functions; to-change.ts makes one true. */
import type {RunAttempt} from '../protocol/orchestration/attempt.js';
import type {
  AgentRunSnapshot,
  RunEvent,
  RunEventType,
  TaskLogEntry,
} from '../protocol/orchestration/history.js';
import type {PendingInput} from '../protocol/orchestration/input.js';
import type {AgentPool} from '../protocol/orchestration/pool.js';
import type {AgentRun} from '../protocol/orchestration/run.js';
import type {AgentTask} from '../protocol/orchestration/task.js';

/** An event without its number, which it gets when it is written. */
export interface NewEvent {
  readonly type: RunEventType;
  readonly kind: RunEvent['kind'];
  readonly runId: string;
  readonly attemptId?: string;
  readonly data?: Readonly<Record<string, unknown>>;
}
export type NewSnapshot = Omit<AgentRunSnapshot, 'seq' | 'ts'>;
export type NewLog = Pick<TaskLogEntry, 'runId' | 'stream' | 'data' | 'chunkType'> & {
  readonly attemptId?: string;
  /** Default the time of the decision. */
  readonly ts?: number;
};

/** Records as they are to be, and what is told about it. What is absent stays as it is. */
export interface Decision {
  readonly task: AgentTask;
  readonly runs?: readonly AgentRun[];
  readonly attempts?: readonly RunAttempt[];
  readonly pool?: AgentPool;
  readonly inputs?: readonly PendingInput[];
  /** A run that from now on wants the session. */
  readonly joins?: string;
  /** A run that wants the session no more. */
  readonly leaves?: string;
  /** The attempt that takes the session under a new fence. */
  readonly takes?: RunAttempt;
  /** The attempt that lets go of the session. */
  readonly releases?: string;
  /** The pool must have fewer attempts under way than this. */
  readonly room?: number;
  readonly events?: readonly NewEvent[];
  readonly snapshots?: readonly NewSnapshot[];
  readonly logs?: readonly NewLog[];
  /** An attempt that could not be sent, for who looks after such. */
  readonly undeliverable?: Readonly<Record<string, unknown>>;
}
