/** What a caller may say of a task: strict, so that a field that does nothing is refused by name. */
import {createHash} from 'node:crypto';
import {z} from 'zod';
import {ByError} from '../../errors.js';
import {isValidId} from '../../ids.js';
import {ROUTE_POLICIES} from '../routing.js';
import {
  normalizeRunExecutionPolicy,
  validateRunExecutionPolicy,
  type PolicyRequest,
  type RunExecutionPolicy,
} from './policy.js';
import {anyObject, at, checkInput, str} from './record.js';
import {PRIORITIES, QUEUE_MODES, type AgentQueueMode} from './states.js';
import {LANE, MAX_ATTEMPT_TIMEOUT_MS, MAX_MESSAGE, SLOT_TYPES} from './task.js';

const MAX_ATTACHMENT_BYTES = 262_144;
const id = z.string().refine(isValidId, 'letters, digits and . _ : @ -, at most 128');

const schema = z.strictObject({
  message: z
    .string()
    .refine(text => text.trim() !== '', 'it is empty')
    .max(MAX_MESSAGE),
  /** Of a profile; or give `agentType`. */
  agentId: str(64).optional(),
  /** An agent type; a profile with this key is used where there is one. */
  agentType: id.optional(),
  sessionId: id.optional(),
  sessionKey: str(256).optional(),
  lane: z.string().regex(LANE).optional(),
  hookId: str(64).optional(),
  /** Default true. */
  deliver: z.boolean().optional(),
  /** Milliseconds of each attempt; 0: none. Default 600,000. */
  timeoutMs: z.number().int().min(0).max(MAX_ATTEMPT_TIMEOUT_MS).optional(),
  policy: z.custom<PolicyRequest>(value => typeof value === 'object' && value !== null).optional(),
  extraSystemPrompt: str(32_768).optional(),
  inputProvenance: anyObject().optional(),
  routing: anyObject().optional(),
  attachments: z.array(anyObject()).max(32).optional(),
  idempotencyKey: str(256).optional(),
  label: str(200).optional(),
  spawnedBy: str(200).optional(),
  /** What happens where the session is busy. Default followup. */
  queueMode: z.enum(QUEUE_MODES).optional(),
  priority: z.enum(PRIORITIES).optional(),
  slotType: z.enum(SLOT_TYPES).optional(),
  notBeforeAt: at().optional(),
  expiresAt: at().optional(),
  routePolicy: z.enum(ROUTE_POLICIES).optional(),
});
export {schema as agentCommand};
export type AgentCommandParams = z.input<typeof schema>;

/** @throws {ByError} INVALID_INPUT, POLICY_INVALID, MESSAGE_TOO_LARGE. */
export function validateAgentCommandParams(params: AgentCommandParams): void {
  const tooLarge = (what: string, most: number) =>
    new ByError(
      'MESSAGE_TOO_LARGE',
      `${what} over ${most.toLocaleString('en')} characters can not be kept.`,
      {
        hint: 'Put it into a file or an object store, and send its address.',
      },
    );
  if (typeof params.message === 'string' && params.message.length > MAX_MESSAGE)
    throw tooLarge('A message', MAX_MESSAGE);
  checkInput(schema, params);
  if ((params.agentId === undefined) === (params.agentType === undefined))
    throw new ByError('INVALID_INPUT', 'A task is for one agent.', {
      hint: 'Give either its agentId or its agentType.',
    });
  if (params.sessionId !== undefined && params.sessionKey !== undefined)
    throw new ByError('INVALID_INPUT', 'A session is named by its id or by its key.', {
      hint: 'Give either sessionId or sessionKey.',
    });
  if (JSON.stringify(params.attachments ?? []).length > MAX_ATTACHMENT_BYTES)
    throw tooLarge('Attachments', MAX_ATTACHMENT_BYTES);
  if (params.expiresAt !== undefined && params.expiresAt <= (params.notBeforeAt ?? 0))
    throw new ByError('INVALID_INPUT', 'It would expire before it may begin.', {
      hint: 'Let it expire later.',
    });
  requestedPolicy(params);
}

/** The whole policy of a request. @throws {ByError} POLICY_INVALID */
export function requestedPolicy({policy}: AgentCommandParams): RunExecutionPolicy {
  const whole = normalizeRunExecutionPolicy(policy);
  validateRunExecutionPolicy(whole);
  return whole;
}

/** Two requests with one key must be the same: this is what "the same" looks at. */
export function requestHash(params: AgentCommandParams): string {
  const {idempotencyKey: _key, ...request} = params;
  return createHash('sha256')
    .update(canonical({...request, policy: requestedPolicy(params)}))
    .digest('hex');
}

/** JSON with its keys in order. */
export function canonical(value: unknown): string {
  return JSON.stringify(value, (_key, part: unknown) =>
    typeof part === 'object' && part !== null && !Array.isArray(part)
      ? Object.fromEntries(Object.entries(part).sort(([a], [b]) => (a < b ? -1 : 1)))
      : part,
  );
}

/** @throws {ByError} QUEUE_MODE_INVALID with the modes there are. */
export function readQueueMode(text: string): AgentQueueMode {
  const mode = QUEUE_MODES.find(one => one === (text === 'steer-backlog' ? 'steer' : text));
  if (mode !== undefined) return mode;
  throw new ByError('QUEUE_MODE_INVALID', `"${text.slice(0, 40)}" is no queue mode.`, {
    hint: `Use one of ${QUEUE_MODES.join(', ')}.`,
  });
}
