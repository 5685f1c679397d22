/** `by run list|show|events|cancel|snapshots`. */
import {serverNowMs} from '../../store/store.js';
import {AgentAPI} from '../../orchestration/api.js';
import {resolveId} from '../../orchestration/find.js';
import {listRuns, lookAtRun, readEvents, type RunFilter} from '../../orchestration/read.js';
import {AgentService} from '../../orchestration/service.js';
import {RunAttempt} from '../../protocol/orchestration/attempt.js';
import {recordDocument} from '../../protocol/orchestration/record.js';
import {AgentRun} from '../../protocol/orchestration/run.js';
import {isFinalRun} from '../../protocol/orchestration/states.js';
import {sleep} from '../../clock.js';
import {abilitiesOf} from '../../store/abilities.js';
import {formatDuration} from '../duration.js';
import {showFacts} from '../facts.js';
import {opaque} from '../json.js';
import {paint, type Text} from '../printer.js';
import {clockTime} from '../time.js';
import {followTask} from './follow.js';
import {amount, eventRow, runLength, seconds, statusText} from './lines.js';
import {policyLines} from './policy-lines.js';
import {warnWithoutOrchestrator, type At, type CancelRequest} from './tasks.js';

const open = ({store, workspace}: At) => {
  const service = new AgentService({store});
  return {api: new AgentAPI({runtime: service}), ws: service.workspace(workspace)};
};

export async function listForPeople(at: At, output: string, filter: RunFilter) {
  const {ws} = open(at);
  const {printer} = at;
  const taskId = filter.taskId === undefined ? {} : {taskId: await resolveId(ws, 'task', filter.taskId)};
  const {items, cursor} = await listRuns(ws, {...filter, ...taskId});
  const nowMs = await serverNowMs(ws.store);
  if (output === 'name') for (const {runId} of items) printer.out(runId);
  else
    printer.table(items, [
      {header: 'RUN', value: run => run.runId},
      {header: 'STATUS', value: run => statusText(run.status)},
      {header: 'ATTEMPTS', value: run => amount(run.attemptCount, 'attempt')},
      {
        header: 'TIME',
        value: run =>
          run.endedAt === undefined
            ? runLength(run, nowMs)
            : seconds(run.endedAt - (run.startedAt ?? run.acceptedAt)),
        align: 'right',
      },
      {header: 'TASK', value: run => run.taskId},
      {header: 'AGENT', value: run => run.agentType},
    ]);
  if (items.length === 0) printer.note('No run fits.');
  if (cursor !== undefined) printer.note(paint.dim(`more with --cursor ${cursor}`));
  return {runs: items.map(run => opaque(recordDocument(AgentRun, run))), cursor: cursor ?? null};
}

export async function showForPeople(at: At, text: string, withAttempts: boolean) {
  const {api, ws} = open(at);
  const {printer} = at;
  const {run, task, attempt, inputs, nowMs} = await lookAtRun(ws, await resolveId(ws, 'run', text));
  const {interaction} = run;
  const waits =
    interaction.state === 'working' || interaction.state === 'closed'
      ? ''
      : ` (${interaction.state} ${formatDuration(nowMs - interaction.updatedAt)})`;
  const {policy} = task;
  const {workerId} = attempt ?? {};
  const worker =
    workerId === undefined ? undefined : {abilities: (await abilitiesOf(at.store, [workerId]))[0]};
  const buffered = inputs.filter(({state}) => state === 'buffered');
  const modes = [...new Set(buffered.map(({mode}) => mode))].join(', ');
  showFacts(printer, [
    [
      'status',
      [
        statusText(run.status),
        waits,
        `      attempt ${attempt?.tryNo ?? 1}/${policy.retry.maxAttempts}`,
        attempt?.workerId === undefined ? '' : `   worker ${attempt.workerId}`,
        attempt === undefined || attempt.fence === 0 ? '' : `   fence ${attempt.fence}`,
      ],
    ],
    ['task', run.taskId],
    ['session', run.sessionId],
    ['pool', run.instanceKey],
    ...policyLines(policy, worker).map((line, i): [string, Text] => [i === 0 ? 'policy' : '', line]),
    ['time', runLength(run, nowMs)],
    buffered.length === 0 ? undefined : ['buffered', `${amount(buffered.length, 'input')} (${modes})`],
    run.cancelRequestedAt === undefined || isFinalRun(run.status) ? undefined : ['cancel', 'requested'],
    run.error === undefined
      ? undefined
      : ['error', `${run.error.class} ${run.error.code}: ${run.error.message}`],
    run.result === undefined ? undefined : ['result', run.result.text.slice(0, 500)],
  ]);
  const attempts = withAttempts ? await api.listRunAttempts(at.workspace, run.runId) : undefined;
  printer.table(attempts ?? [], [
    {header: 'ATTEMPT', value: one => `${one.attemptNo}`},
    {header: 'STRATEGY', value: one => one.strategy},
    {header: 'STATUS', value: one => one.status},
    {header: 'EXECUTION', value: one => one.executionId},
    {header: 'WORKER', value: one => one.workerId ?? '-'},
    {header: 'FENCE', value: one => String(one.fence), align: 'right'},
    {
      header: 'ERROR',
      value: one => (one.error === undefined ? '' : `${one.errorClass ?? ''} ${one.error.code}`),
      shrink: true,
    },
  ]);
  return {
    run: opaque(recordDocument(AgentRun, run)),
    ...(attempts === undefined
      ? {}
      : {attempts: attempts.map(one => opaque(recordDocument(RunAttempt, one)))}),
  };
}

export interface EventsRequest {
  readonly follow: boolean;
  readonly from: number;
  readonly kind: string | undefined;
  readonly signal: AbortSignal;
}

const LOOK_EVERY_MS = 250;

export async function eventsForPeople(at: At, text: string, {follow, from, kind, signal}: EventsRequest) {
  const {ws} = open(at);
  const {printer} = at;
  const runId = await resolveId(ws, 'run', text);
  const kept: object[] = [];
  for (let next = from; ;) {
    // The run first: all that led to its end is found after it.
    const {run} = await lookAtRun(ws, runId);
    const page = await readEvents(ws, runId, next);
    if (page.gap !== undefined) printer.warn(`Events ${page.gap.from} to ${page.gap.to} are no longer kept.`);
    for (const event of page.entries) {
      if (kind !== undefined && event.kind !== kind) continue;
      const document = {...event, data: opaque(event.data)};
      printer.out(eventRow(event));
      printer.event(document);
      if (!follow) kept.push(document);
    }
    next = page.next;
    const isOver = page.entries.length === 0 && (!follow || isFinalRun(run.status));
    if (isOver || signal.aborted) return {runId, events: kept, next};
    if (page.entries.length === 0) await sleep(LOOK_EVERY_MS, signal);
  }
}

export async function cancelForPeople(at: At, text: string, request: CancelRequest) {
  const {api, ws} = open(at);
  const {printer} = at;
  const runId = await resolveId(ws, 'run', text);
  const {outcome, already, run, task, workerId} = await api.cancelRun(at.workspace, runId, request);
  const status = run?.status ?? 'cancelled';
  if (outcome === 'already_finished')
    printer.out(`${runId}   already finished (${status}); nothing to cancel`);
  else if (outcome === 'cancelled') printer.out(`${runId}   `, statusText('cancelled'));
  else
    printer.out(
      `${runId}   cancel requested (${request.mode})${workerId === undefined ? '' : `; ${workerId} is stopping it`}`,
    );
  if (request.wait && outcome === 'requested') {
    await warnWithoutOrchestrator(printer, ws);
    const logs = `by task logs ${task.taskId} --follow`;
    // However it ends, it has ended, and that is said.
    await followTask(api, {...at, taskId: task.taskId, mode: 'submit', signal: request.signal, logs}).catch(
      (error: unknown) => {
        if (signalled(request.signal)) throw error;
      },
    );
    const after = await api.getRun(at.workspace, runId);
    printer.out(`${runId}   `, statusText(after.status));
    return {runId, outcome, already, status: after.status};
  }
  return {runId, outcome, already, status};
}

const signalled = (signal: AbortSignal): boolean => signal.aborted;

export async function snapshotsForPeople(at: At, text: string, limit: number) {
  const {api, ws} = open(at);
  const runId = await resolveId(ws, 'run', text);
  const snapshots = await api.listRunSnapshots(at.workspace, runId, limit);
  for (const {seq, marker, status, startedAt, endedAt} of snapshots) {
    const when: Text[] = [
      startedAt === undefined ? '' : `  started ${clockTime(startedAt)}`,
      endedAt === undefined ? '' : `  ended ${clockTime(endedAt)}`,
    ];
    at.printer.out(`snapshot ${seq}  ${marker}  ${status}`, ...when);
  }
  if (snapshots.length === 0) at.printer.note('Nothing has happened to it yet.');
  return {runId, snapshots};
}
