/** Approvals: one call of a tool, or one whole run, that a person has to allow before it happens. */
import {z} from 'zod';
import {parseUntrusted} from '../limits.js';
import {ID_PREFIXES} from './ids.js';
import {at, record} from './record.js';

export const APPROVAL_STATES = [
  ...(['pending', 'allowed_once', 'allowed_always', 'denied', 'expired', 'cancelled'] as const),
];
export type ApprovalState = (typeof APPROVAL_STATES)[number];

export const DECISIONS = ['allow-once', 'allow-always', 'deny'] as const;
export type Decision = (typeof DECISIONS)[number];

/** How long a person has. */
export const APPROVAL_MS = 1_800_000;
export const MAX_NOTE = 500;

export const Approval = record({
  approvalId: z.string(),
  /** `tool`: one call of a tool. `run`: the whole run, before it is sent to a worker that does not ask by itself. */
  kind: z.enum(['tool', 'run']),
  runId: z.string(),
  taskId: z.string(),
  attemptId: z.string(),
  agentType: z.string(),
  sessionId: z.string(),
  /** The worker that waits; absent for a whole run. */
  workerId: z.string().optional(),
  /** `exec` for a program; the agent type for a whole run. */
  tool: z.string(),
  /** The program as the file it is, and its arguments. */
  argv: z.array(z.string()).optional(),
  cwd: z.string().optional(),
  /** Names of what the program is given of an environment; never the values. */
  envKeys: z.array(z.string()).optional(),
  /** What the answer binds: SHA-256 of all of it, hex. */
  subjectHash: z.string(),
  /** For people, at most 500 characters. */
  summary: z.string(),
  /** What `allow-always` will add to the allowlist; absent where it can only be allowed once. */
  pattern: z.string().optional(),
  state: z.enum(APPROVAL_STATES),
  /** Who says to have decided: claimed, not proven. */
  decidedBy: z.string().optional(),
  note: z.string().optional(),
  /** `{execution}@{attempt}`: what waits; absent for a whole run. */
  turn: z.string().optional(),
  /** The answer that decided it, where one did: `{stream}/{entry id}` of a RESUME, or `reply/{reply id}`. */
  heard: z.string().optional(),
  /** The last answer that was no decision, named as {@link heard}: whoever waits asks again. */
  unclear: z.string().optional(),
  createdAt: at(),
  expiresAt: at(),
  decidedAt: at().optional(),
});
export type Approval = z.output<typeof Approval>;

/** Whether an id is of an approval, and not of any other question. */
export const isApprovalId = (id: string): boolean => id.startsWith(ID_PREFIXES.approval);

export const decidedState = (decision: Decision): ApprovalState =>
  decision === 'deny' ? 'denied' : decision === 'allow-once' ? 'allowed_once' : 'allowed_always';

/** What a form shows, and may be answered. */
export function approvalQuestion({tool, summary, pattern}: Approval): {
  readonly prompt: string;
  readonly choices: readonly string[];
} {
  const choices = pattern === undefined ? ['allow once', 'deny'] : ['allow once', 'allow always', 'deny'];
  const what = tool === 'exec' ? `run the program: ${summary}` : `use the tool: ${summary}`;
  return {prompt: `May the agent ${what}? Answer one of: ${choices.join(', ')}.`, choices};
}

const WORDS: ReadonlyMap<string, Decision> = new Map([
  ...['allow', 'allow once', 'yes', 'once'].map(word => [word, 'allow-once'] as const),
  ...['allow always', 'always'].map(word => [word, 'allow-always'] as const),
  ...['deny', 'no'].map(word => [word, 'deny'] as const),
]);
const MOST_DEEP = 8;

/**
 * The decision in what a person answered: a text, or the fields of a form, as an object or as JSON.
 * @returns undefined if there is none, or more than one.
 */
export function decisionIn(...answers: readonly unknown[]): Decision | undefined {
  const found = new Set(answers.flatMap(answer => decisionsIn(answer, 0)));
  const [one] = found;
  return found.size === 1 ? one : undefined;
}

function decisionsIn(value: unknown, depth: number): Decision[] {
  if (depth > MOST_DEEP) return [];
  if (typeof value === 'object' && value !== null)
    return Object.values(value).flatMap(part => decisionsIn(part, depth + 1));
  if (typeof value !== 'string') return [];
  const text = value.trim();
  const word = WORDS.get(
    text
      .toLowerCase()
      .replace(/[.!]$/, '')
      .replace(/[\s_-]+/g, ' '),
  );
  if (word !== undefined) return [word];
  if (!/^[[{]/.test(text)) return [];
  try {
    return decisionsIn(parseUntrusted(text), depth + 1);
  } catch {
    // Not a form; and no decision either.
    return [];
  }
}

/** Why an agent type may run something without a question. */
export const AllowEntry = record({
  addedBy: z.string(),
  addedAt: at(),
  /** What was asked when it was allowed. */
  approvalId: z.string().optional(),
});
export type AllowEntry = z.output<typeof AllowEntry>;
