/** Execution records: claimed and finished by workers. Accepting is in acceptance.ts, stopping from outside in stop.ts. */
import {ByError, messageOf} from '../errors.js';
import {EMPTY_CONFIGS_SNAPSHOT, emptyConfigsSnapshot, SNAPSHOT_TTL_S} from '../protocol/agent-config.js';
import type {Command} from '../protocol/commands.js';
import {
  decodeRecord,
  execField,
  fenceOf,
  msgMapField,
  type ExecutionRecord,
  type ReplyContext,
} from '../protocol/execution.js';
import {SESSION_TTL_S} from '../protocol/keys.js';
import {encodeJson, ProtocolError} from '../protocol/limits.js';
import {TERMINAL_STATES} from '../protocol/states.js';
import {settleMany} from './control-streams.js';
import {emptyOutbox, encodeOutboxItem} from './outbox.js';
import type {ScriptArg} from './run-script.js';
import {defineScript, texts} from './script.js';
import type {Store} from './store.js';

const TERMINAL_JSON = JSON.stringify([...TERMINAL_STATES]);
/** Attempts a record remembers; the counters know about all of them. */
const ATTEMPTS_CAP = 50;

/** In the order of claim.lua. */
export const CLAIM_ARGS = [
  'messageId',
  'hint',
  'newRecord',
  'newId',
  'owner',
  'workerId',
  'entry',
  'nowMs',
  'reopen',
  'ttlS',
  'terminal',
  'ask',
  'deadOwner',
  'maxAttempts',
  'cap',
  'replyContext',
  'userCode',
  'answered',
  'group',
  'question',
  'callee',
] as const;

const claimScript = defineScript({
  file: 'claim.lua',
  before: ['records.lua', 'resumed.lua', 'cancelled.lua', 'begun.lua'],
  joins: true,
  keys: ['registry'],
  args: CLAIM_ARGS,
  reply: texts,
});

const CLAIM_VERDICTS = [
  'started',
  'cancelled',
  'expired',
  'terminal',
  'unawaited',
  'busy',
  'held',
  'exhausted',
] as const;
/** What claim.lua answers; its header says what each means. */
export type ClaimVerdict = (typeof CLAIM_VERDICTS)[number];

export interface Claim {
  readonly verdict: ClaimVerdict;
  readonly executionId: string;
  readonly record: ExecutionRecord;
  /** Shown by every later write of this turn. */
  readonly fence: string;
  readonly attempt: number;
  /** It has ended, and its dead letter found no room: the entry must stay pending until it does. */
  readonly isHeld: boolean;
  /** Milliseconds to its deadline when it was claimed; undefined if it has none. */
  readonly leftMs: number | undefined;
}

export interface ClaimRequest {
  readonly sessionId: string;
  readonly messageId: string;
  /** Execution id the sender put into the command, or ''. */
  readonly hint: string;
  readonly newExecutionId: string;
  /** Makes the record to write when the sender wrote none. A command that names its execution has one, nearly always. */
  readonly newRecord: () => string;
  readonly owner: string;
  readonly workerId: string;
  /** `{stream}/{entry id}`: tells a repeat of the same delivery from another command. */
  readonly entry: string;
  readonly nowMs: number;
  readonly reopen: boolean;
  /** An ASK, which begins an execution; false for a RESUME. */
  readonly ask: boolean;
  /** An owner known to be gone, whose attempt may be taken over; '' if none is. */
  readonly deadOwner: string;
  /** Starts the execution has, in all. */
  readonly maxAttempts: number;
  /** What a reply to the caller needs; absent if nobody waits for one. */
  readonly reply?: ReplyContext;
  /** On whose behalf the command was sent. */
  readonly userCode?: string;
  /** Of an agent's RESUME: the message of the call it answers, which says which execution goes on. */
  readonly callee?: string;
  /** The same call, where the record notes what is waited for, and the group that is done with it, or ''. */
  readonly answers?: {readonly messageId: string; readonly groupId: string};
  /** What a person's RESUME says it answers: `turnQuestionId`. */
  readonly question?: string;
}

/**
 * Begin a turn. One round trip; a repeat of the same delivery begins a new attempt with a new fence.
 * @throws {ProtocolError} UNREADABLE_RECORD if what is stored of the execution can not be worked with, now or later.
 */
export async function claimExecution(store: Store, request: ClaimRequest): Promise<Claim> {
  return readClaim(store, request, await orUnreadable(() => runClaim(store, request)));
}

/** @param reply what claim.lua returned, as text. */
export async function readClaim(
  store: Store,
  request: ClaimRequest,
  reply: readonly string[],
): Promise<Claim> {
  const [verdict = '', executionId = '', text = '', left = ''] = reply;
  const record = decodeRecord(text);
  if (!record || !isClaimVerdict(verdict)) throw unreadableRecord(`claim answered "${verdict}"`);
  // A worker that died after the end of its turn may have left the reply behind, and a dead letter may wait for room.
  const isHeld = verdict === 'terminal' && (await emptyOutbox(store, request.sessionId)).isHeld;
  const attempt = Number(record.extra['x_attempt'] ?? 0);
  const leftMs = left === '' ? undefined : Number(left);
  return {verdict, executionId, record, fence: fenceOf(attempt, request.owner), attempt, leftMs, isHeld};
}

/** A record is nearly always there, unless an ASK does not say which. */
async function runClaim(store: Store, request: ClaimRequest): Promise<readonly string[]> {
  const isExpected = request.hint !== '' || !request.ask;
  const answer = await callClaim(store, request, isExpected ? '' : request.newRecord());
  return isExpected && answer[0] === 'unknown' ? callClaim(store, request, request.newRecord()) : answer;
}

/** @throws {ProtocolError} UNREADABLE_RECORD where the script could not work with what is stored. */
export async function orUnreadable<T>(run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } catch (error) {
    const isPassing = error instanceof ByError && error.code !== 'REDIS_WRONG_TYPE';
    if (!isPassing && (error instanceof ByError || messageOf(error).includes('user_script')))
      throw unreadableRecord(messageOf(error));
    throw error;
  }
}

const unreadableRecord = (why: string) =>
  new ProtocolError('UNREADABLE_RECORD', `The record of its execution can not be read: ${why}`);

function callClaim(store: Store, request: ClaimRequest, newRecord: string): Promise<readonly string[]> {
  return claimScript(
    store.commands,
    {
      keys: {registry: store.keys.sessionRegistry(request.sessionId)},
      args: claimArgs(request, newRecord),
    },
    {retryForMs: 30_000},
  );
}

export const claimArgs = (
  request: ClaimRequest,
  newRecord: string,
): Record<(typeof CLAIM_ARGS)[number], ScriptArg> => ({
  messageId: request.messageId,
  hint: request.hint,
  newRecord,
  newId: request.newExecutionId,
  owner: request.owner,
  workerId: request.workerId,
  entry: request.entry,
  nowMs: request.nowMs,
  reopen: request.reopen ? '1' : '0',
  ttlS: SESSION_TTL_S,
  terminal: TERMINAL_JSON,
  ask: request.ask ? '1' : '0',
  deadOwner: request.deadOwner,
  maxAttempts: request.maxAttempts,
  cap: ATTEMPTS_CAP,
  replyContext: request.reply === undefined ? '' : JSON.stringify(request.reply),
  userCode: request.userCode ?? '',
  answered: request.answers?.messageId ?? '',
  group: request.answers?.groupId ?? '',
  question: request.question ?? '',
  callee: request.callee ?? '',
});

function isClaimVerdict(text: string): text is ClaimVerdict {
  return (CLAIM_VERDICTS as readonly string[]).includes(text);
}

const finishScript = defineScript({
  file: 'finish.lua',
  before: ['records.lua', 'end-turn.lua', 'append-rest.lua', 'keep-answer.lua'],
  joins: true,
  keys: ['registry', 'events', 'source', 'reply', 'deadletter', 'outbox', 'snapshot', 'journal'],
  args: [
    'executionId',
    'fence',
    'patch',
    'ttlS',
    'group',
    'entry',
    'delete',
    'replyDocument',
    'terminal',
    'deadLetter',
    'registryTtlS',
    'letterLimit',
    'heldLetter',
    'snapshot',
    'snapshotTtlS',
    'unsure',
    ...['caller', 'callerFence', 'question', 'answer'],
  ],
  reply: raw => {
    if (Array.isArray(raw)) {
      const [, index, order, at] = texts(raw).map(Number);
      return {index: index ?? 0, order: order ?? 0, at: at ?? 0};
    }
    return raw === 'ok' || raw === 'held' || raw === 'terminal' || raw === 'cancelling' ? raw : 'fenced';
  },
});

/** Where the journal of a caller got an answer. */
export interface KeptAt {
  /** Of the entry. */
  readonly index: number;
  readonly order: number;
  /** Unix milliseconds by Redis's clock. */
  readonly at: number;
}

/** A turn of the caller that runs in this process, and is told of the answer in place of being sent the reply. */
export interface CallerHere {
  readonly executionId: string;
  readonly fence: string;
  /** Message id of the call. */
  readonly question: string;
  /** As the journal keeps it. */
  readonly answer: string;
  /** Called if its journal got the answer; else the reply was sent. */
  readonly kept: (at: KeptAt) => void;
}

/** What a turn has said and nobody has written, as far as is known. */
export interface UnwrittenEvents {
  /** Encoded, in order. */
  readonly events: readonly string[];
  /** Of how many of them, from the first, a write got no answer: it may have been carried out. Default 0. */
  readonly unsure?: number;
}

export interface Finish extends UnwrittenEvents {
  readonly sessionId: string;
  readonly executionId: string;
  readonly fence: string;
  /** Record fields in wire names; must hold `status` and `updated_at`. */
  readonly patch: Readonly<Record<string, unknown>>;
  /** Renew the data stream's lifetime. */
  readonly renewEvents: boolean;
  /** Renew the registry's lifetime; the sender has set it when it began. */
  readonly renewRegistry: boolean;
  /** The entry to settle in the same step; absent to settle it afterwards. */
  readonly settle?: {
    readonly stream: string;
    readonly group: string;
    readonly entryId: string;
    readonly deleteEntry: boolean;
  };
  readonly reply?: {readonly stream: string; readonly document: string; readonly callerHere?: CallerHere};
  /** The dead letter this execution becomes. */
  readonly deadLetter?: string;
  /** Of agent configs, which other SDKs look for before they go on with what waits: kept with a turn's end, or forgotten. */
  readonly snapshot?:
    | {readonly key: string; readonly then: 'keep'; readonly version: number}
    | {readonly key: string; readonly then: 'forget'};
}

/**
 * End a turn in one step; in a Cluster in those of outbox.ts. 'held': all was written, but there is no room for the dead
 * letter, and the entry must stay pending until there is. After the others nothing was written: 'terminal' says that the
 * execution has ended, 'fenced' that another attempt owns it, 'cancelling' that it may not wait any more.
 */
export async function finishTurn(
  store: Store,
  finish: Finish,
): Promise<'ok' | 'held' | 'fenced' | 'terminal' | 'cancelling'> {
  const {keys} = store;
  const isCluster = await store.commands.isCluster();
  const outbox = keys.sessionOutbox(finish.sessionId);
  const {reply, settle, snapshot} = finish;
  const kept = snapshot?.then === 'keep' ? snapshotText(snapshot.version) : undefined;
  if (isCluster && snapshot !== undefined && kept !== undefined)
    await keepSnapshot(store, snapshot.key, kept);
  const letter = finish.deadLetter && {stream: keys.deadletter(), document: finish.deadLetter};
  const [replyKey, replyDocument] = isCluster
    ? [outbox, reply && encodeOutboxItem(reply)]
    : [reply?.stream ?? keys.deadletter(), reply?.document];
  const [letterKey, letterDocument] = isCluster
    ? [outbox, letter && encodeOutboxItem(letter)]
    : [keys.deadletter(), letter && letter.document];
  const settleHere = isCluster ? undefined : settle;
  const callerHere = reply?.callerHere;
  const ended = await finishScript(
    store.commands,
    {
      keys: {
        registry: keys.sessionRegistry(finish.sessionId),
        events: keys.sessionDataStream(finish.sessionId),
        source: settleHere?.stream ?? letterKey,
        reply: replyKey,
        deadletter: letterKey,
        outbox,
        snapshot: isCluster ? outbox : (snapshot?.key ?? outbox),
        journal: callerHere === undefined ? outbox : keys.journal(finish.sessionId, callerHere.executionId),
      },
      args: {
        executionId: finish.executionId,
        fence: finish.fence,
        patch: encodeJson(finish.patch),
        ttlS: finish.renewEvents ? SESSION_TTL_S : 0,
        registryTtlS: finish.renewRegistry ? SESSION_TTL_S : 0,
        group: settleHere?.group ?? '',
        entry: settleHere?.entryId ?? '',
        delete: settleHere?.deleteEntry ? '1' : '0',
        replyDocument: replyDocument ?? '',
        terminal: TERMINAL_JSON,
        deadLetter: letterDocument ?? '',
        // In a Cluster it goes through the outbox in any case.
        letterLimit: isCluster ? 0 : store.limits.deadLetters,
        heldLetter: letter && !isCluster ? encodeOutboxItem(letter) : '',
        snapshot: isCluster || snapshot === undefined ? '' : (kept ?? 'forget'),
        snapshotTtlS: SNAPSHOT_TTL_S,
        unsure: finish.unsure ?? 0,
        caller: callerHere?.executionId ?? '',
        callerFence: callerHere?.fence ?? '',
        question: callerHere?.question ?? '',
        answer: callerHere?.answer ?? '',
      },
      moreArgs: finish.events,
    },
    {retryForMs: 30_000},
  );
  if (typeof ended !== 'string') callerHere?.kept(ended);
  const outcome = typeof ended === 'string' ? ended : 'ok';
  if (isCluster && (outcome === 'ok' || outcome === 'terminal')) {
    const isHeld = (reply || letter) && (await emptyOutbox(store, finish.sessionId)).isHeld;
    if (isHeld && letter) return 'held';
    if (outcome === 'ok' && snapshot?.then === 'forget') await forgetSnapshot(store, snapshot.key);
    if (settle) await settleMany(store, settle.group, settle.stream, [settle.entryId], settle.deleteEntry);
  }
  return outcome;
}

/** In a Cluster it lives in a slot of its own: kept before its execution waits, forgotten after that has ended. */
const keepSnapshot = (store: Store, key: string, text: string) =>
  store.commands.run(redis => redis.set(key, text, 'EX', SNAPSHOT_TTL_S, 'NX'), {retryForMs: 5000});

/** @param version as much of it as a snapshot can hold: it is shown, and never compared. */
const snapshotText = (version: number): string =>
  version === 0 ? EMPTY_CONFIGS_SNAPSHOT : emptyConfigsSnapshot(Math.min(version, 0xffff));

/** One that stays has a lifetime. */
const forgetSnapshot = (store: Store, key: string) =>
  store.commands.run(redis => redis.del(key)).catch(() => undefined);

const endAttemptScript = defineScript({
  file: 'end-attempt.lua',
  before: ['records.lua', 'append-rest.lua'],
  keys: ['registry', 'events'],
  args: [
    ...['executionId', 'fence', 'ended', 'workerId', 'error', 'nowMs', 'retryAtMs', 'terminal', 'cap'],
    ...['ttlS', 'unsure'],
  ],
  reply: raw => (raw === 'ok' || raw === 'terminal' ? raw : 'fenced'),
});

export interface EndedAttempt extends UnwrittenEvents {
  readonly sessionId: string;
  readonly executionId: string;
  readonly fence: string;
  /** A failure counts against the execution, a hand-back does not. */
  readonly ended: 'failed' | 'handed_back';
  readonly workerId: string;
  /** Why, for people. */
  readonly error: string;
  readonly nowMs: number;
  /** About when it is tried again; 0 if as soon as somebody takes it. */
  readonly retryAtMs: number;
}

/** End an attempt but not its execution, which waits for the next. The entry stays pending. */
export async function endAttempt(
  store: Store,
  attempt: EndedAttempt,
  retryForMs: number,
): Promise<'ok' | 'fenced' | 'terminal'> {
  return endAttemptScript(
    store.commands,
    {
      keys: {
        registry: store.keys.sessionRegistry(attempt.sessionId),
        events: store.keys.sessionDataStream(attempt.sessionId),
      },
      args: {
        executionId: attempt.executionId,
        fence: attempt.fence,
        ended: attempt.ended,
        workerId: attempt.workerId,
        error: attempt.error,
        nowMs: attempt.nowMs,
        retryAtMs: attempt.retryAtMs,
        terminal: TERMINAL_JSON,
        cap: ATTEMPTS_CAP,
        ttlS: SESSION_TTL_S,
        unsure: attempt.unsure ?? 0,
      },
      moreArgs: attempt.events,
    },
    {retryForMs},
  );
}

/** @returns the record of a message, or undefined. */
export async function findByMessage(
  store: Store,
  sessionId: string,
  messageId: string,
): Promise<ExecutionRecord | undefined> {
  const registry = store.keys.sessionRegistry(sessionId);
  const id = await store.commands.run(redis => redis.hget(registry, msgMapField(messageId)), {
    retryForMs: 5000,
  });
  return id === null ? undefined : findExecution(store, sessionId, id);
}

/** @returns the record of an execution, or undefined. */
export async function findExecution(
  store: Store,
  sessionId: string,
  executionId: string,
): Promise<ExecutionRecord | undefined> {
  const registry = store.keys.sessionRegistry(sessionId);
  const text = await store.commands.run(redis => redis.hget(registry, execField(executionId)), {
    retryForMs: 5000,
  });
  return text === null ? undefined : decodeRecord(text);
}

/** @returns every readable record of a session, oldest first; fields that are not records are passed over. */
export async function sessionExecutions(store: Store, sessionId: string): Promise<ExecutionRecord[]> {
  const registry = store.keys.sessionRegistry(sessionId);
  const fields = await store.commands.run(redis => redis.hgetall(registry), {retryForMs: 5000});
  return Object.entries(fields)
    .filter(([field]) => field.startsWith('exec:'))
    .map(([, text]) => decodeRecord(text))
    .filter(record => record !== undefined)
    .sort((a, b) => a.createdAt - b.createdAt);
}

/** The execution id our senders put into a command, so that claiming it needs no look-up by message. '' if absent. */
export function executionHint(command: Command): string {
  const hint = command.header.metadata['by_execution_id'];
  return command.action === 'ASK_AGENT' && typeof hint === 'string' ? hint : '';
}

/**
 * The record that says how a message fares. A client of the TypeScript SDK that answers a question makes an execution of its
 * own for the answer: the message leads there from then on, and the one that asked waits for ever.
 */
export async function currentExecution(
  store: Store,
  sessionId: string,
  {executionId, messageId}: {readonly executionId: string; readonly messageId: string},
): Promise<ExecutionRecord | undefined> {
  const record = await findExecution(store, sessionId, executionId);
  if (record?.status !== 'WAITING_USER') return record;
  return (await findByMessage(store, sessionId, messageId)) ?? record;
}
