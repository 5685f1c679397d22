/** Replaying dead letters: which, where to, and exactly once each. cli.md §2.5, §8.2. */
import type {Clock} from '../clock.js';
import {ByError} from '../errors.js';
import {newExecutionId, newMessageId} from '../ids.js';
import {decodeCommand, encodeCommand, type AskCommand, type ResumeCommand} from '../protocol/commands.js';
import type {DeadLetterSource, ReadDeadLetter} from '../protocol/deadletter.js';
import {encodeRecord, newExecutionRecord} from '../protocol/execution.js';
import {
  findDeadLetter,
  replayDeadLetter,
  replayMarkers,
  type StoredDeadLetter,
} from '../store/dead-letters.js';
import {onlineMembers} from '../store/presence.js';
import type {Store} from '../store/store.js';

/** What a dead letter died of, for people and filters. */
export function deadLetterCode(source: DeadLetterSource | ''): string {
  switch (source) {
    case 'execution':
      return 'EXECUTION_FAILED';
    case 'poison':
      return 'UNREADABLE_COMMAND';
    case 'pending':
    case 'delivery':
      return 'DELIVERY_EXPIRED';
    case 'manual':
      return 'MANUAL';
    case 'wakeup':
    case '':
      return 'WAKEUP_FAILED';
  }
}

export interface ReplayOptions {
  /** Another agent type than the command was for. */
  readonly to?: string;
  /** Give it a new message id too, so that it is a new message of the session. */
  readonly newIds: boolean;
  /** Leave the dead letter; its replay is still remembered. */
  readonly keep: boolean;
  readonly reason: string;
  /** Replay though nobody is online for the target. */
  readonly sendAnyway: boolean;
  /** Who does it, for the audit. */
  readonly actor: string;
}

/** One dead letter as a plan sees it. */
export type ReplayPlan =
  | {
      readonly kind: 'ready';
      readonly id: string;
      readonly target: string;
      readonly command: AskCommand | ResumeCommand;
      readonly letter: ReadDeadLetter;
      readonly count: number;
    }
  | {readonly kind: 'skipped'; readonly id: string; readonly why: string};

/** Decide what a replay of these entries would do. Writes nothing. */
export async function planReplay(
  store: Store,
  entries: readonly StoredDeadLetter[],
  options: ReplayOptions,
): Promise<ReplayPlan[]> {
  const markers = await replayMarkers(
    store,
    entries.map(entry => entry.id),
  );
  const online = new Map<string, boolean>();
  const plans: ReplayPlan[] = [];
  for (const {id, letter} of entries) {
    const skip = (why: string) => plans.push({kind: 'skipped', id, why});
    if (!letter) {
      skip('it can not be read');
      continue;
    }
    if (letter.replayable !== 'yes') {
      skip('it was written without its command');
      continue;
    }
    if (markers.has(id)) {
      skip('it was replayed before');
      continue;
    }
    const command = readCommand(letter);
    if (command === undefined) {
      skip('its command can not be read');
      continue;
    }
    const target = options.to ?? (letter.targetAgentType || command.header.targetAgentType);
    if (!online.has(target)) online.set(target, (await onlineMembers(store, target)).online);
    if (online.get(target) !== true && !options.sendAnyway) {
      skip(`nobody is online for "${target}" (replay it anyway with --policy send-anyway)`);
      continue;
    }
    const count = Number(command.header.metadata['replay_count'] ?? 0) + 1;
    plans.push({kind: 'ready', id, target, command, letter, count});
  }
  return plans;
}

function readCommand(letter: ReadDeadLetter): AskCommand | ResumeCommand | undefined {
  try {
    const command = decodeCommand(letter.commandPayload);
    return command.action === 'ASK_AGENT' || command.action === 'RESUME' ? command : undefined;
  } catch {
    // The payload is what a stranger sent; the plan says that it can not be replayed.
    return undefined;
  }
}

export interface ReplayedItem {
  readonly id: string;
  readonly result: 'replayed' | 'already' | 'missing';
  readonly streamId: string;
  readonly sessionId: string;
  readonly messageId: string;
  readonly executionId: string;
  readonly replayCount: number;
}

/** Carry out one planned replay. Safe to repeat: the entry's marker lets only the first one through. */
export async function carryOutReplay(
  store: Store,
  now: Clock,
  replayId: string,
  plan: Extract<ReplayPlan, {kind: 'ready'}>,
  options: ReplayOptions,
): Promise<ReplayedItem> {
  const executionId = newExecutionId();
  const {header} = plan.command;
  const messageId = options.newIds ? newMessageId() : header.messageId;
  const command: AskCommand | ResumeCommand = {
    ...plan.command,
    header: {
      ...header,
      messageId,
      targetAgentType: plan.target,
      metadata: {
        ...header.metadata,
        by_execution_id: executionId,
        replay_of: plan.letter.executionId || plan.id,
        replay_id: replayId,
        replay_count: plan.count,
      },
    },
  };
  const at = now();
  const record = newExecutionRecord({
    executionId,
    messageId,
    sessionId: header.sessionId,
    traceId: header.traceId,
    parentMessageId: header.parentMessageId,
    sourceAgentType: header.sourceAgentType === '' ? 'client' : header.sourceAgentType,
    targetAgentType: plan.target,
    streamName: store.keys.ctrlStream(plan.target),
    now: at,
    extra: {x_replay_of: plan.letter.executionId || plan.id, x_replay_id: replayId},
  });
  const audit = {
    replay_id: replayId,
    entry: plan.id,
    execution_id: executionId,
    target: plan.target,
    reason: options.reason,
    actor: options.actor,
    at,
  };
  const outcome = await replayDeadLetter(store, {
    entryId: plan.id,
    targetAgentType: plan.target,
    command: encodeCommand(command),
    sessionId: header.sessionId,
    executionId,
    messageId,
    record: encodeRecord(record),
    marker: JSON.stringify({replay_id: replayId, execution_id: executionId, at}),
    audit: JSON.stringify(audit),
    keep: options.keep,
  });
  return {
    id: plan.id,
    result: outcome.kind,
    sessionId: header.sessionId,
    replayCount: plan.count,
    streamId: outcome.kind === 'replayed' ? outcome.streamId : '',
    messageId: outcome.kind === 'replayed' ? outcome.messageId : messageId,
    executionId: outcome.kind === 'replayed' ? outcome.executionId : executionId,
  };
}

/** @throws {ByError} NOT_FOUND */
export async function requireDeadLetter(store: Store, id: string): Promise<StoredDeadLetter> {
  const found = /^\d{1,20}-\d{1,20}$/.test(id) ? await findDeadLetter(store, id) : undefined;
  if (found) return found;
  throw new ByError('NOT_FOUND', `There is no dead letter "${id}".`, {
    hint: 'It may have been replayed; see what is there with `by deadletter list`.',
    next: ['by deadletter list'],
  });
}
