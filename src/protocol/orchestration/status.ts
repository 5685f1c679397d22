/**
 * What is kept of a worker's status: whether it works, rests, is away, or has used up somebody's quota. Stored as a hash
 * of texts; documents are in snake_case.
 */
import {z} from 'zod';
import {textListOf} from '../fields.js';
import {isObject, parseUntrusted} from '../limits.js';

export const AGENT_STATUSES = ['idle', 'busy', 'on_call', 'offline', 'exhausted'] as const;
export type AgentStatus = (typeof AGENT_STATUSES)[number];

/** Why a worker can do nothing: too many requests in too little time, or no money left. */
export const EXHAUST_REASONS = ['rate_limit', 'billing'] as const;
export type ExhaustReason = (typeof EXHAUST_REASONS)[number];

/** `on_call` work keeps its worker in reserve; what says nothing is `work`. */
export const SLOT_TYPES = ['work', 'on_call', 'system'] as const;
export type SlotType = (typeof SLOT_TYPES)[number];

/** `native`: the worker says it itself. `derived`: it is read off what a foreign worker writes. */
export type StatusOrigin = 'native' | 'derived';

/** Where the end of an exhaustion was learnt. */
export type RecoverySource = 'explicit' | 'header' | 'error_code' | 'operator' | 'default';

/** The scope of an exhaustion that stops the whole worker. Others (a model, an account) only say what to put off. */
export const WHOLE_WORKER = '*';

/** A count or a time in Unix milliseconds, as the hash holds it. */
const number = z.codec(z.string().regex(/^-?\d+$/), z.number().int(), {
  decode: Number,
  encode: String,
});
const typeList = z.codec(z.string(), z.array(z.string()), {
  decode: text => {
    try {
      return textListOf(parseUntrusted(text));
    } catch {
      // A status without agent types is still a status.
      return [];
    }
  },
  encode: list => JSON.stringify(list),
});

const StatusHash = z.object({
  worker_id: z.string().min(1),
  agent_types: typeList,
  status: z.enum(AGENT_STATUSES),
  status_since_at: number,
  last_heartbeat_at: number.optional(),
  exhausted_at: number.optional(),
  recovery_at: number.optional(),
  exhaust_reason: z.enum(EXHAUST_REASONS).optional(),
  slots_used: number,
  slots_max: number.optional(),
  first_slot_type: z.enum(SLOT_TYPES).optional(),
  reserve_on_call: z.literal('1').optional(),
  origin: z.enum(['native', 'derived']),
  version: number,
});

/** A worker's status, as it is kept. Times are Unix milliseconds by Redis's clock. */
export interface AgentStatusRecord {
  readonly workerId: string;
  readonly agentTypes: readonly string[];
  readonly status: AgentStatus;
  readonly statusSinceAt: number;
  readonly lastHeartbeatAt: number | null;
  readonly exhaustedAt: number | null;
  /** When it may work again. */
  readonly recoveryAt: number | null;
  readonly exhaustReason: ExhaustReason | null;
  readonly slotsUsed: number;
  /** Null where nobody said how many it has. */
  readonly slotsMax: number | null;
  /** Of the work it has had longest. */
  readonly firstSlotType: SlotType | null;
  /** While it is on call it takes nothing but on-call work. */
  readonly reserveOnCall: boolean;
  readonly origin: StatusOrigin;
  /** Rises with every change. */
  readonly version: number;
}

/** @returns undefined for no record, and for one that is none. */
export function decodeStatus(hash: Readonly<Record<string, string>>): AgentStatusRecord | undefined {
  const read = StatusHash.safeDecode(hash as z.input<typeof StatusHash>);
  if (!read.success) return undefined;
  const doc = read.data;
  return {
    workerId: doc.worker_id,
    agentTypes: doc.agent_types,
    status: doc.status,
    statusSinceAt: doc.status_since_at,
    lastHeartbeatAt: doc.last_heartbeat_at ?? null,
    exhaustedAt: doc.exhausted_at ?? null,
    recoveryAt: doc.recovery_at ?? null,
    exhaustReason: doc.exhaust_reason ?? null,
    slotsUsed: doc.slots_used,
    slotsMax: doc.slots_max ?? null,
    firstSlotType: doc.first_slot_type ?? null,
    reserveOnCall: doc.reserve_on_call === '1',
    origin: doc.origin,
    version: doc.version,
  };
}

const LedgerHash = z.object({
  worker_id: z.string().min(1),
  scope: z.string().min(1),
  reason: z.enum(EXHAUST_REASONS),
  recovery_at: number,
  explicit: z.enum(['0', '1']),
  source: z.enum(['explicit', 'header', 'error_code', 'operator', 'default']),
  recorded_at: number,
});

/** That a quota is used up, and until when. It outlives the worker that said so. */
export interface LedgerRow {
  readonly workerId: string;
  readonly scope: string;
  readonly reason: ExhaustReason;
  readonly recoveryAt: number;
  /** Somebody said when it ends; else it is the default. */
  readonly explicit: boolean;
  readonly source: RecoverySource;
  readonly recordedAt: number;
}

/** @returns undefined for no row, and for one that is none. */
export function decodeLedger(hash: Readonly<Record<string, string>>): LedgerRow | undefined {
  const read = LedgerHash.safeDecode(hash as z.input<typeof LedgerHash>);
  if (!read.success) return undefined;
  const doc = read.data;
  return {
    workerId: doc.worker_id,
    scope: doc.scope,
    reason: doc.reason,
    recoveryAt: doc.recovery_at,
    explicit: doc.explicit === '1',
    source: doc.source,
    recordedAt: doc.recorded_at,
  };
}

/** Whether a record says that work of this type keeps its worker in reserve. */
export const slotTypeOf = (value: unknown): SlotType => SLOT_TYPES.find(type => type === value) ?? 'work';

/** Codes of failed executions that mean a used-up quota: whole codes, never parts of a message. */
const EXHAUSTED_CODES: Readonly<Record<string, ExhaustReason>> = {
  RATE_LIMIT: 'rate_limit',
  RATE_LIMITED: 'rate_limit',
  QUOTA_EXCEEDED: 'rate_limit',
  '429': 'rate_limit',
  BILLING: 'billing',
  INSUFFICIENT_QUOTA: 'billing',
  '402': 'billing',
};

/** @returns the exhaustion a structured error code stands for, whatever its case; undefined if it is none. */
export function exhaustReasonOf(errorCode: unknown): ExhaustReason | undefined {
  if (typeof errorCode !== 'string' && typeof errorCode !== 'number') return undefined;
  const code = String(errorCode).toUpperCase();
  return Object.hasOwn(EXHAUSTED_CODES, code) ? EXHAUSTED_CODES[code] : undefined;
}

/** Exhausted workers of an agent type and when each recovers, in Unix milliseconds. What can not be read marks nobody. */
export function readMarked(text: string | null): ReadonlyMap<string, number> {
  if (text === null) return new Map();
  let doc: unknown;
  try {
    doc = parseUntrusted(text);
  } catch {
    // Routers go by leases then, as other SDKs do.
    return new Map();
  }
  return new Map(
    Object.entries(isObject(doc) ? doc : {}).filter(
      (entry): entry is [string, number] => typeof entry[1] === 'number',
    ),
  );
}
