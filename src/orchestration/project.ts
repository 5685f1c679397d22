/** The projector: what by-framework shows of executions becomes the state of their attempts, runs and tasks. */
import {askUserPrompt, eventKind, eventText, type DataEvent} from '../protocol/events.js';
import type {ExecutionRecord} from '../protocol/execution.js';
import type {Approval} from '../protocol/orchestration/approval.js';
import type {RunAttempt} from '../protocol/orchestration/attempt.js';
import type {AgentTask} from '../protocol/orchestration/task.js';
import {approvalsOfRun} from '../store/approvals.js';
import {isTerminalTolerant} from '../protocol/states.js';
import {AgentStatusService} from '../registry/agent-status-service.js';
import {eventsAfter} from '../store/data-streams.js';
import {currentExecution} from '../store/executions.js';
import {members, setMembers} from '../store/orchestration-lists.js';
import {lookAt, type Workspace} from '../store/orchestration.js';
import {carryOut} from './decide.js';
import {forEach, type OrchestratorDeps} from './deps.js';
import {isBegun} from './ending.js';
import {steered} from './inputs.js';
import {takenOf} from '../store/steering.js';
import {observed, type Seen} from './observing.js';

/** Once over everything that is under way. @returns how many attempts got on; words that they said do not count. */
export async function projectPass(deps: OrchestratorDeps): Promise<number> {
  let changes = 0;
  await forEach(deps, await underWay(deps.workspace), 'looking at an execution', async id => {
    if (await projectAttempt(deps, id)) changes++;
  });
  return changes;
}

/** Attempts between their claim and the proven end of what runs them. */
export async function underWay(workspace: Workspace): Promise<string[]> {
  const {keys, name} = workspace;
  const pools = await setMembers(workspace, keys.orchPools(name));
  return (await Promise.all(pools.map(pool => members(workspace, keys.orchInflight(name, pool))))).flat();
}

/** @returns whether it got on: its state, its place, or what it waits for. Whoever loses a race leaves it to the next look: what is to be seen stays. */
export async function projectAttempt({workspace}: OrchestratorDeps, attemptId: string): Promise<boolean> {
  const work = await lookAt(workspace, 'att', attemptId);
  if (!isBegun(work) || work.attempt.dispatchPhase === 'claimed') return false;
  // Before anything else: what the agent has taken goes with no other turn.
  const said = work.inputs.filter(({state, mode}) => state === 'buffered' && mode === 'steer');
  const taken = await takenOf(
    workspace,
    work.attempt.attemptId,
    said.map(({inputId}) => inputId),
  );
  if (taken.length > 0) return carryOut(workspace, work, steered(work, taken));
  const seen = await see(workspace, work.task, work.attempt);
  const decision = observed(work, seen, Math.random());
  if (decision === undefined || !(await carryOut(workspace, work, decision))) return false;
  await noteQuota(workspace, work.task.agentType, seen.record);
  const after = decision.attempts?.find(one => one.attemptId === work.attempt.attemptId);
  return after !== undefined && stateOf(after) !== stateOf(work.attempt);
}

const stateOf = ({status, place, waitingSinceAt}: RunAttempt): string =>
  `${status} ${place} ${waitingSinceAt ?? ''}`;

/** An execution that failed for a used-up quota says so of its worker. */
async function noteQuota(
  {store}: Workspace,
  agentType: string,
  record: ExecutionRecord | undefined,
): Promise<void> {
  if (record?.errorCode === undefined || record.workerId === '' || !isOverByItself(record)) return;
  const {workerId, executionId, errorCode} = record;
  await new AgentStatusService(store).observeFailure({workerId, agentType, executionId, errorCode});
}

/** The record first: whatever was said before the end it tells of is found after it. */
async function see(workspace: Workspace, {sessionId, policy}: AgentTask, attempt: RunAttempt): Promise<Seen> {
  const {store} = workspace;
  const {messageId, logCursor, firstCursor} = attempt;
  const record = await currentExecution(store, sessionId, attempt);
  const heard = await hear(logCursor);
  const isOver = record !== undefined && isOverByItself(record);
  const whole = isOver ? await hear(firstCursor) : undefined;
  return {
    record,
    approvals: policy.ask === 'off' ? [] : await approvalsOf(workspace, attempt),
    said: words(heard.events),
    cursor: heard.cursor,
    answer: whole && answerOf(whole.events.map(({event}) => event)),
  };

  async function hear(after: string) {
    const events: {readonly id: string; readonly event: DataEvent}[] = [];
    let cursor = after;
    for (;;) {
      const page = await eventsAfter(store, sessionId, cursor, messageId);
      events.push(...page.events);
      if (page.last === undefined) return {events, cursor};
      cursor = page.last;
    }
  }
}

async function approvalsOf(workspace: Workspace, {runId, attemptId}: RunAttempt): Promise<Approval[]> {
  const found = await approvalsOfRun(workspace, runId);
  return found.filter(one => one.kind === 'tool' && one.attemptId === attemptId);
}

const isOverByItself = ({status}: ExecutionRecord): boolean => isTerminalTolerant(status.split(':')[0] ?? '');

/** The last answer given as a whole, or the pieces joined. Undefined if there was neither. */
function answerOf(events: readonly DataEvent[]): string | undefined {
  const whole = events.findLast(event => eventKind(event) === 'final');
  if (whole !== undefined) return eventText(whole);
  const pieces = events.filter(event => eventKind(event) === 'answer').map(eventText);
  return pieces.length === 0 ? undefined : pieces.join('');
}

/** Pieces of one kind that came together are one entry of the log. */
function words(events: readonly {readonly event: DataEvent}[]): Seen['said'] {
  const said: {text: string; chunkType: string; ts: number}[] = [];
  for (const {event} of events) {
    const kind = eventKind(event);
    const text = askUserPrompt(event)?.prompt ?? eventText(event);
    if (text === '' || kind === 'end' || kind === 'other') continue;
    const last = said.at(-1);
    // A whole answer repeats its pieces.
    if (kind === 'final' && last?.chunkType === 'answer' && last.text.endsWith(text)) continue;
    if (last?.chunkType === kind && (kind === 'answer' || kind === 'reasoning')) last.text += text;
    else said.push({text, chunkType: kind, ts: event.timestamp});
  }
  return said;
}
