/** `by wakeup list|show|decide`. */
import {answerByHand, type HandAnswer} from '../availability/answer-by-hand.js';
import {systemClock} from '../clock.js';
import {ByError} from '../errors.js';
import type {WakeupDecision, WakeupRequest} from '../protocol/wakeup.js';
import {decisionsFor, findWakeup, listWakeups, type WakeupSummary} from '../registry/wakeups.js';
import {onlineMembers} from '../store/presence.js';
import {serverTimeMs, type Store} from '../store/store.js';
import {formatDuration} from './duration.js';
import {showFacts} from './facts.js';
import {checkedId} from './ids.js';
import {opaque} from './json.js';
import {paint, type Printer, type Text} from './printer.js';
import {actor} from './replay-dead-letters.js';
import {isoTime} from './time.js';

/** Requests looked at for the one that is named. */
const LOOK_AT = 1000;

export async function listForPeople(
  store: Store,
  printer: Printer,
  output: string,
  {agentType, limit}: {readonly agentType: string | undefined; readonly limit: number},
) {
  if (agentType !== undefined) checkedId(agentType, 'agent type');
  const all = await listWakeups(store, agentType === undefined ? limit : LOOK_AT);
  const wakeups = all
    .filter(({request}) => agentType === undefined || request?.targetAgentType === agentType)
    .slice(0, limit);
  if (output === 'name') {
    for (const {entry, request} of wakeups) printer.out(request?.executionId ?? entry.id);
    return {wakeups: wakeups.map(wakeupView)};
  }
  const now = await serverTimeMs(store);
  printer.table(wakeups, [
    {header: 'EXECUTION', value: ({entry, request}) => request?.executionId ?? entry.id},
    {header: 'AGE', value: ({at}) => formatDuration(now - at), align: 'right'},
    {header: 'AGENT TYPE', value: ({request}) => request?.targetAgentType ?? '-'},
    {header: 'STATE', value: stateText},
    {header: 'MANAGER', value: ({managerId}) => managerId || '-'},
    {header: 'WAITERS', value: ({waiters}) => String(waiters.length), align: 'right'},
    {header: 'POLICY', value: ({request}) => policyText(request)},
    {header: 'USER', value: ({request}) => request?.userCode || '-'},
    {header: 'REGION', value: ({request}) => request?.region || '-'},
  ]);
  if (wakeups.length === 0) printer.note('No wakeup is under way.');
  else if (wakeups.some(({state}) => state === 'waiting'))
    printer.note(
      paint.dim(
        'What waits was read by no manager yet. Answer one by hand: by wakeup decide EXECUTION ready',
      ),
    );
  return {wakeups: wakeups.map(wakeupView)};
}

function stateText({state}: WakeupSummary): Text {
  switch (state) {
    case 'started':
      return paint.green(state);
    case 'waiting':
      return paint.yellow(state);
    case 'unreadable':
      return paint.red(state);
  }
}

const policyText = (request: WakeupRequest | undefined): string =>
  request === undefined
    ? '-'
    : `${request.policy.toLowerCase().replaceAll('_', '-')} ${formatDuration(request.timeoutMs)}`;

/** A wakeup as `--json` prints it. */
function wakeupView({
  entry,
  at,
  state,
  managerId,
  idleMs,
  request,
  unreadable,
  waiters,
  leader,
}: WakeupSummary) {
  const {commandPayload: _command, metadata: _metadata, ...asked} = request ?? {};
  return {entryId: entry.id, at, state, managerId, idleMs, unreadable, leader, waiters, ...asked};
}

/** @throws {ByError} INVALID_INPUT, NOT_FOUND. */
export async function showForPeople(store: Store, printer: Printer, id: string) {
  const wakeup = await requireWakeup(store, id);
  const {request} = wakeup;
  const [decisions, now, online] = await Promise.all([
    decisionsFor(store, request?.executionId ?? ''),
    serverTimeMs(store),
    request === undefined ? undefined : onlineMembers(store, request.targetAgentType),
  ]);
  showFacts(printer, [
    ['entry', wakeup.entry.id],
    ['asked', `${isoTime(wakeup.at)}  ${formatDuration(now - wakeup.at)} ago`],
    ['state', stateText(wakeup)],
    wakeup.managerId === ''
      ? undefined
      : ['manager', `${wakeup.managerId}  heard of ${formatDuration(wakeup.idleMs ?? 0)} ago`],
    ...(request === undefined
      ? [['unreadable', wakeup.unreadable] as const]
      : ([
          ['agent type', request.targetAgentType],
          ['workers online', String(online?.workerIds.length ?? 0)],
          ['execution', request.executionId],
          ['session', `${request.sessionId}  message ${request.messageId}`],
          ['policy', policyText(request)],
          ['asked by', request.source || '-'],
          request.userCode === '' ? undefined : (['user', request.userCode] as const),
          request.region === '' ? undefined : (['region', request.region] as const),
          ['waiters', waitersText(wakeup)],
        ] as const)),
  ]);
  for (const decision of decisions) printer.out(paint.dim('decided  '), decisionText(decision));
  return {
    ...wakeupView(wakeup),
    workersOnline: online?.workerIds ?? [],
    metadata: opaque(request?.metadata ?? {}),
    command: opaque(request?.commandPayload ?? {}),
    decisions,
  };
}

const SHOWN_WAITERS = 5;

function waitersText({waiters, leader}: WakeupSummary): string {
  const some = waiters.slice(0, SHOWN_WAITERS).join(', ');
  const more = waiters.length > SHOWN_WAITERS ? `, and ${waiters.length - SHOWN_WAITERS} more` : '';
  return `${waiters.length}: ${some}${more}${leader === '' ? '' : `  (led by ${leader})`}`;
}

const decisionText = ({status, reason, selectedAgentType}: WakeupDecision): Text => [
  status === 'READY' ? paint.green(status) : paint.yellow(status),
  selectedAgentType === '' ? '' : `  to ${selectedAgentType}`,
  reason === '' ? '' : `  ${reason}`,
];

async function requireWakeup(store: Store, id: string): Promise<WakeupSummary> {
  const wakeup = await findWakeup(store, checkedId(id, 'wakeup'), LOOK_AT);
  if (wakeup !== undefined) return wakeup;
  throw new ByError('NOT_FOUND', `No wakeup "${id}" is under way.`, {
    hint: 'It was decided, or never asked for; see `by wakeup list`.',
    next: ['by wakeup list'],
  });
}

export interface DecideRequest {
  /** A decision of the wire in lower case. */
  readonly status: string;
  readonly reason: string;
  readonly to: string | undefined;
  readonly workerIds: readonly string[];
  readonly retryAfterMs: number | undefined;
  readonly dryRun: boolean;
  confirm(question: string): Promise<boolean>;
}

/** @throws {ByError} USAGE, INVALID_INPUT, NOT_FOUND, INPUT_NEEDED, CONFLICT if the person says no, DEAD_LETTERS_FULL. */
export async function decideForPeople(store: Store, printer: Printer, id: string, decide: DecideRequest) {
  const answer = answerOf(decide);
  const {request, waiters, entry} = await requireWakeup(store, id);
  if (request === undefined) {
    throw new ByError(
      'INVALID_INPUT',
      `The request ${entry.id} can not be read, so nobody can be answered.`,
      {
        hint: 'A manager moves it to the dead letters: is one running?',
      },
    );
  }
  const {targetAgentType} = request;
  const who = waiters.length === 1 ? (waiters[0] ?? '') : `${waiters.length} who wait`;
  const result = {agentType: targetAgentType, decision: answer.status, dryRun: decide.dryRun};
  if (decide.dryRun) {
    printer.note(
      `Nothing was decided. Without --dry-run ${answer.status} is told to ${who} for "${targetAgentType}".`,
    );
    return {...result, told: [], waiters, settled: [], deadLetters: []};
  }
  const isNo = answer.status === 'REJECTED' || answer.status === 'FAILED';
  if (isNo && !(await decide.confirm(`Answer ${answer.status} to ${who} for "${targetAgentType}"?`)))
    throw new ByError('CONFLICT', 'Nothing was decided.', {hint: 'Answer yes, or give --yes.'});
  const by = actor();
  const now = systemClock();
  // Who it was is for our log and the dead letters, not for those who wait.
  const reason = answer.reason === '' ? 'decided by hand' : `${answer.reason} (decided by hand)`;
  const answered = await answerByHand(store, request, {...answer, reason}, {by, now});
  printer.out(
    paint.green(printer.symbol('ok')),
    ` ${answer.status} told to ${answered.told.length} for ${targetAgentType}`,
  );
  printer.note(paint.dim(`${isoTime(now)}  by ${by}${answer.reason === '' ? '' : `  "${answer.reason}"`}`));
  for (const letter of answered.deadLetters) printer.note(paint.dim(`  dead letter ${letter}`));
  if (answer.status === 'READY' && !(await onlineMembers(store, targetAgentType)).online)
    printer.warn(`No worker of "${targetAgentType}" is online yet: READY is believed once one is.`);
  return {...result, waiters, ...answered, actor: by, at: isoTime(now)};
}

function answerOf({status, reason, to, workerIds, retryAfterMs}: DecideRequest): HandAnswer {
  const wire = status.toUpperCase();
  if (wire === 'FALLBACK' && to === undefined)
    throw misplaced('fallback needs the agent type that stands in.', '--to TYPE');
  if (wire !== 'FALLBACK' && to !== undefined)
    throw misplaced('--to is for fallback only.', 'fallback --to TYPE');
  if (wire !== 'READY' && workerIds.length > 0)
    throw misplaced('--worker is for ready only.', 'ready --worker ID');
  if (wire !== 'REJECTED' && wire !== 'FAILED' && retryAfterMs !== undefined)
    throw misplaced('--retry-after is for rejected and failed only.', 'rejected --retry-after 5m');
  return {
    status: wire,
    selectedAgentType: to === undefined ? '' : checkedId(to, 'agent type'),
    workerIds: workerIds.map(workerId => checkedId(workerId, 'worker id')),
    retryAfterMs: retryAfterMs ?? null,
    reason,
  };
}

const misplaced = (message: string, example: string) =>
  new ByError('USAGE', message, {hint: `Write: by wakeup decide EXECUTION … ${example}`});
