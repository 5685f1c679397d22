/** `by send`: send, say what happened on the way, and show the answer if that was asked for. */
import {GatewayClient} from '../client/client.js';
import {loadProject} from '../config/project.js';
import {followToQuestion} from '../client/follow-execution.js';
import type {OpenQuestion} from '../availability/questions.js';
import {reply, replyCommand} from '../availability/reply.js';
import {systemClock} from '../clock.js';
import type {SendProgress, SendRequest, SendResult} from '../availability/send.js';
import {ByError} from '../errors.js';
import {newMessageId, newSessionId} from '../ids.js';
import {eventKind, eventText, type DataEvent} from '../protocol/events.js';
import type {ExecutionRecord} from '../protocol/execution.js';
import {listAgentTypes} from '../registry/listing.js';
import {lastEventId} from '../store/data-streams.js';
import {checkServer, serverTimeMs, type Store} from '../store/store.js';
import {formatDuration} from './duration.js';
import {opaque} from './json.js';
import {openTracing, printedLog} from './tracing.js';
import {paint, type Printer} from './printer.js';
import {leftMs, promptOf, termsText} from './question-text.js';
import {askUntilDue, type AskPerson, type Told} from './run-reply.js';
import {suggest} from './suggest.js';
import {toTailEvent} from '../observe/tail-event.js';

export interface RunSend {
  readonly store: Store;
  readonly printer: Printer;
  readonly output: string;
  readonly signal: AbortSignal;
  readonly request: SendRequest;
  readonly mode: 'send' | 'wait' | 'follow';
  /** Answers to the questions on the way, in order. */
  readonly answers: readonly string[];
  /** undefined where nobody can be asked. */
  readonly ask: AskPerson | undefined;
  readonly dryRun: boolean;
  /** Write the SDKs' trace records into Redis. */
  readonly redisTraces: boolean;
  readonly showKeys: boolean;
  /** The command that goes on where a Ctrl-C stops this one. */
  setResume(command: string): void;
}

export interface SendOutcome extends Omit<SendResult, 'streamName'> {
  readonly execution?: {readonly status: string; readonly elapsedMs: number};
  readonly output?: string;
}

/** @throws {ByError} as send(); TASK_FAILED, TASK_CANCELLED, INPUT_REQUIRED for how it ended. */
export async function runSend(run: RunSend): Promise<unknown> {
  const request = {
    ...run.request,
    sessionId: run.request.sessionId ?? newSessionId(),
    messageId: run.request.messageId ?? newMessageId(),
    signal: run.signal,
  };
  if (run.dryRun) return dryRun(run, request);
  const config = (await loadProject(process.cwd()))?.config.tracing;
  const tracing = await openTracing({redisTraces: run.redisTraces, config}, printedLog(run.printer));
  const client = new GatewayClient(run.store, tracing.options);
  try {
    return await sendAndShow(run, client, request);
  } finally {
    await Promise.all([client.flushTraces(), tracing.stop()]);
  }
}

type NamedRequest = SendRequest & {readonly sessionId: string; readonly messageId: string};

async function sendAndShow(run: RunSend, client: GatewayClient, request: NamedRequest): Promise<unknown> {
  await checkServer(run.store);
  const {printer} = run;
  const human = run.output === 'table';
  const note = (...line: Parameters<Printer['note']>) => {
    if (human) printer.note(...line);
  };
  const policy = (request.policy ?? 'FAIL_FAST').toLowerCase().replaceAll('_', '-');
  note(
    paint.cyan(printer.symbol('arrow')),
    ` ${request.agentType}   policy ${policy}   session ${request.sessionId}   message ${request.messageId}`,
    request.deadlineMs === undefined ? '' : `   deadline ${formatDuration(request.deadlineMs)}`,
  );
  run.setResume(`by tail ${request.sessionId}`);

  // What the session holds already is not this message's answer.
  const after = run.mode === 'send' ? '0-0' : await lastEventId(run.store, request.sessionId);
  const startedAt = Date.now();
  const sent = await sendOrSuggest(run, client, {
    ...request,
    onProgress: progress => {
      if (progress.kind === 'unreadable-record') printer.warn(unreadableLine(run.store, progress));
      else if (progress.kind === 'exhausted') printer.warn(exhaustedLine(progress));
      else if (human) showProgress(printer, progress);
    },
  });
  if (human && sent.wakeup !== undefined && sent.wakeup.decision !== 'READY')
    printer.growingNote(paint.dim(`  ${printer.symbol('arrow')} online in ${wakeupFacts(sent.wakeup)}`));
  note(paint.dim(deliveryLine(printer, sent)));
  if (run.showKeys)
    note(
      paint.dim(
        `  keys    ${run.store.keys.sessionRegistry(sent.sessionId)}  ${sent.streamName}  ${run.store.keys.sessionDataStream(sent.sessionId)}`,
      ),
    );
  const {streamName: _stream, ...facts} = sent;
  if (run.mode === 'send') {
    if (human && sent.status === 'QUEUE_PENDING')
      note(`queued; watch it with  `, paint.cyan(`by tail ${sent.sessionId} -f`));
    return facts;
  }
  note('');
  return {...facts, ...(await showAnswer(run, sent, after, startedAt))};
}

async function sendOrSuggest(run: RunSend, client: GatewayClient, request: SendRequest): Promise<SendResult> {
  try {
    return await client.send(request);
  } catch (error) {
    if (!(error instanceof ByError) || error.code !== 'AGENT_TYPE_UNAVAILABLE') throw error;
    const online = (await listAgentTypes(run.store))
      .filter(type => type.online > 0)
      .map(type => type.agentType);
    const near = suggest(request.agentType, online);
    const another = request.policy === 'WAKE_AND_WAIT' ? 'queue-only' : 'wake-and-wait';
    const known =
      online.length === 0 ? 'no agent type is online' : `known agent types online: ${someOf(online)}`;
    const guess = near === null ? '' : `     did you mean "${near}"?`;
    // The policy refuses at once; a wait that was given its time, and in which nothing was decided, ran out of it.
    const timedOut = error.details['waitedMs'] !== undefined;
    throw new ByError(timedOut ? 'TIMEOUT' : error.code, error.message, {
      hint: `${known}${guess}\n${error.hint}`,
      cause: error,
      next: [`by send ${request.agentType} … --policy ${another}`, 'by worker list'],
      details: {...error.details, online},
    });
  }
}

const MAX_NAMED = 10;

const someOf = (names: readonly string[]): string =>
  names.length <= MAX_NAMED
    ? names.join(', ')
    : `${names.slice(0, MAX_NAMED).join(', ')} and ${names.length - MAX_NAMED} more`;

async function showAnswer(
  run: RunSend,
  sent: SendResult,
  after: string,
  startedAt: number,
): Promise<Partial<SendOutcome>> {
  const {printer} = run;
  const shown: Shown = {counts: new Map(), answer: '', final: undefined, lastId: after, askers: new Set()};
  const record = await followWithAnswers(run, sent, shown);
  printer.endStream();
  const {counts, answer, final} = shown;
  const output = final ?? answer;
  // What was not streamed is shown whole.
  if (
    answer === '' &&
    output !== '' &&
    (run.mode === 'follow' || run.output === 'raw' || run.output === 'table')
  )
    printer.block(output);
  else if (run.mode === 'wait' && output !== '') printer.block(output);
  const elapsedMs = Date.now() - startedAt;
  if (record === undefined) {
    throw new ByError('NOT_FOUND', 'The execution left no record to read the end from.', {
      hint: `Look with: by tail ${sent.sessionId}`,
    });
  }
  if (run.output === 'jsonl') printer.event({type: 'end', reason: record.status.toLowerCase()});
  const execution = {status: record.status, elapsedMs};
  const details = {...sent, execution, output};
  judge(record, details);
  if (run.output === 'table')
    printer.note(
      paint.green(printer.symbol('ok')),
      ` ${record.status} in ${formatDuration(elapsedMs)}   ${countLine(counts)}`,
    );
  return {execution, output};
}

/** What was shown of the answer so far. */
interface Shown {
  readonly counts: Map<string, number>;
  answer: string;
  final: string | undefined;
  lastId: string;
  /** Messages that asked a person. */
  readonly askers: Set<string>;
}

/** Follow to the end; questions on the way are answered by `--answer`, or by the person at the terminal. */
async function followWithAnswers(
  run: RunSend,
  sent: SendResult,
  shown: Shown,
): Promise<ExecutionRecord | undefined> {
  const prepared = [...run.answers];
  for (;;) {
    const {record, questions} = await showUntilQuestion(run, sent, shown);
    for (const [at, question] of questions.entries()) {
      run.printer.endStream();
      const told = await answerTo(run, question, prepared);
      if (told.kind === 'answer') await answerQuestion(run, question, told.text);
      if (told.kind === 'left')
        throw await inputRequired(run, {...sent, ...outputOf(shown)}, questions.slice(at), record);
    }
    if (questions.length === 0) {
      if (prepared.length > 0 && record !== undefined)
        run.printer.warn(`${prepared.length} of ${run.answers.length} answers were not asked for`);
      return record;
    }
  }
}

const outputOf = ({answer, final}: Shown) => ({output: final ?? answer});

async function showUntilQuestion(run: RunSend, sent: SendResult, shown: Shown) {
  const {askers, counts} = shown;
  const events = followToQuestion(run.store, {...sent, after: shown.lastId, askers, signal: run.signal});
  for (;;) {
    const next = await events.next();
    if (next.done) return next.value;
    const item = next.value;
    shown.lastId = item.id;
    if (item.kind !== 'event') continue;
    const {event} = item;
    const kind = eventKind(event);
    counts.set(kind, (counts.get(kind) ?? 0) + 1);
    run.setResume(`by tail ${sent.sessionId} --from ${item.id}`);
    if (run.mode === 'follow') showEvent(run, event, item.id);
    const own = event.messageId === sent.messageId;
    if (kind === 'answer' && own) shown.answer += eventText(event);
    if (kind === 'final' && own) shown.final = eventText(event);
    if (kind === 'ask') askers.add(event.messageId);
  }
}

/** The next answer given beforehand, or the person's here; where nobody can be asked it is as if they had left. */
async function answerTo(run: RunSend, question: OpenQuestion, prepared: string[]): Promise<Told> {
  const text = prepared.shift();
  if (text !== undefined) return {kind: 'answer', text};
  if (run.ask === undefined) return {kind: 'left'};
  const told = await askUntilDue(run.store, run.ask, question, run.signal);
  if (told.kind === 'closed') run.printer.note('  somebody else has answered, or its time has passed');
  return told;
}

async function answerQuestion(run: RunSend, question: OpenQuestion, content: string): Promise<void> {
  const {sessionId, executionId, questionId} = question;
  const {userCode, userName} = run.request;
  try {
    await reply(run.store, systemClock, {
      ...{sessionId, executionId, content, signal: run.signal},
      ...(questionId === '' ? {} : {questionId}),
      ...(userCode === undefined ? {} : {userCode}),
      ...(userName === undefined ? {} : {userName}),
    });
    if (run.output === 'table') run.printer.note(paint.dim(`  answered  ${content}`));
  } catch (error) {
    // Somebody else was first, or its time has passed: what follows says what came of it.
    const isOver = error instanceof ByError && ['ALREADY_ANSWERED', 'ANSWER_TOO_LATE'].includes(error.code);
    if (isOver) {
      run.printer.warn(error.message);
      return;
    }
    if (!(error instanceof ByError) || error.code !== 'INVALID_INPUT') throw error;
    throw new ByError(error.code, error.message, {
      ...{hint: error.hint, cause: error, details: error.details},
      next: [replyCommand(question), `by tail ${sessionId}`],
    });
  }
}

/** Nobody here answers: what is asked, and how it can be answered. */
async function inputRequired(
  run: RunSend,
  details: Readonly<Record<string, unknown>>,
  questions: readonly OpenQuestion[],
  record: ExecutionRecord | undefined,
): Promise<ByError> {
  const now = await serverTimeMs(run.store);
  const [first] = questions;
  const lines = questions.map(question =>
    [promptOf(question), termsText(question, leftMs(question, now))].filter(part => part !== '').join('  '),
  );
  return new ByError('INPUT_REQUIRED', `The agent asks: ${lines.join('\n')}`, {
    hint: 'Answer it, then follow on. Answers can be given beforehand with --answer.',
    next: [...questions.map(replyCommand), `by tail ${first?.sessionId ?? ''}`],
    details: {
      ...details,
      execution: {status: record?.status ?? 'WAITING_USER'},
      question: first?.prompt,
      questions,
    },
  });
}

/** An end that is not success is an error with an exit code of its own. */
function judge(record: ExecutionRecord, details: Record<string, unknown>): void {
  const {sessionId} = record;
  switch (record.status) {
    case 'FAILED':
      if (record.errorCode === 'DEADLINE_EXCEEDED') {
        throw new ByError('DEADLINE_EXCEEDED', record.errorMessage ?? 'Its deadline passed.', {
          hint: 'Send it again with a later --deadline if the answer is still wanted.',
          next: [`by tail ${sessionId}`],
          details,
        });
      }
      throw new ByError('TASK_FAILED', `The agent failed: ${record.errorMessage ?? 'no reason given'}`, {
        hint: 'The whole command is among the dead letters if the agent threw.',
        next: [`by tail ${sessionId}`, 'by deadletter list'],
        details,
      });
    case 'CANCELLED':
      throw new ByError(
        'TASK_CANCELLED',
        `It was cancelled${record.cancelReason ? `: ${record.cancelReason}` : ''}.`,
        {
          hint: 'Send it again if that was a mistake.',
          details,
        },
      );
  }
}

function showEvent(run: RunSend, event: DataEvent, id: string): void {
  const {printer} = run;
  if (run.output === 'jsonl') {
    printer.event(toTailEvent(id, event));
    return;
  }
  const kind = eventKind(event);
  if (kind === 'answer') {
    if (run.output === 'raw') printer.raw(eventText(event));
    else printer.stream(eventText(event));
  }
  if (run.output !== 'table') return;
  if (kind === 'state') printer.note(paint.dim(`  ${eventText(event)}`));
  if (kind === 'reasoning') printer.note(paint.dim(`  ~ ${eventText(event)}`));
  if (kind === 'artifact') printer.note(paint.dim(`  artifact ${eventText(event)}`));
}

type UnreadableProgress = Extract<SendProgress, {kind: 'unreadable-record'}>;

function unreadableLine(store: Store, {record, of}: UnreadableProgress): string {
  const refuses = store.unreadableRecords === 'refuse' && record !== 'fallback';
  return `the ${record} of "${of}" is no JSON object; it is ${refuses ? 'taken for a refusal' : 'ignored'}`;
}

type ExhaustedProgress = Extract<SendProgress, {kind: 'exhausted'}>;

function exhaustedLine({agentType, waits, exhausted}: ExhaustedProgress): string {
  const when = formatDuration(Math.ceil(exhausted.recoverMs / 1000) * 1000);
  const all = `every online worker of "${agentType}" has used up its quota`;
  return waits ? `${all}; waiting up to ${when} for the first` : `${all}; the first recovers in ${when}`;
}

function showProgress(
  printer: Printer,
  progress: Exclude<SendProgress, UnreadableProgress | ExhaustedProgress>,
): void {
  switch (progress.kind) {
    case 'offline':
      printer.note(paint.dim(`  offline: 0 workers for ${progress.agentType}`));
      return;
    case 'wakeup-requested':
      printer.growingNote(paint.dim(`  wakeup  requested  ${progress.executionId}`));
      return;
    case 'wakeup-decision': {
      const {elapsedMs, decision} = progress;
      // Who is there says enough.
      const reason = decision.reason === '' || decision.status === 'READY' ? '' : ` ${decision.reason}`;
      const facts = wakeupFacts({elapsedMs, workerIds: decision.workerIds});
      printer.growingNote(paint.dim(`  ${printer.symbol('arrow')} ${decision.status} in ${facts}${reason}`));
    }
  }
}

const wakeupFacts = ({
  elapsedMs,
  workerIds,
}: Pick<NonNullable<SendResult['wakeup']>, 'elapsedMs' | 'workerIds'>) =>
  `${formatDuration(elapsedMs)}${workerIds.length === 0 ? '' : ` (${workerIds.join(', ')})`}`;

function deliveryLine(printer: Printer, sent: SendResult): string {
  if (sent.duplicate) return `  known   ${sent.messageId} was accepted before as ${sent.executionId}`;
  const instead =
    sent.selectedAgentType === sent.targetAgentType ? '' : `  fallback ${sent.selectedAgentType}`;
  const stream = sent.streamName.replace(/^.*?byai_gateway:(?:v2:)?/, '');
  return `  deliver ${sent.status} ${printer.symbol('arrow')} ${stream}  ${sent.streamId}${instead}`;
}

function countLine(counts: ReadonlyMap<string, number>): string {
  const named = (kind: string, one: string, many: string) => {
    const count = counts.get(kind) ?? 0;
    return count === 0 ? [] : [`${count} ${count === 1 ? one : many}`];
  };
  return [
    ...named('answer', 'chunk', 'chunks'),
    ...named('state', 'state change', 'state changes'),
    ...named('artifact', 'artifact', 'artifacts'),
  ].join(', ');
}

function dryRun(run: RunSend, request: SendRequest): unknown {
  const stream = run.store.keys.ctrlStream(request.agentType);
  const size = Buffer.byteLength(JSON.stringify(request.content));
  run.printer.out(
    `would send ${size} bytes to ${request.agentType}, policy ${request.policy ?? 'FAIL_FAST'}`,
  );
  run.printer.out(paint.dim(`  stream  ${stream}`));
  run.printer.note('Nothing was sent. Run without --dry-run to do it.');
  const {signal: _signal, onProgress: _progress, metadata, extraPayload, content, ...rest} = request;
  return {
    dryRun: true,
    ...rest,
    messageId: request.messageId ?? newMessageId(),
    stream,
    content: opaque(content),
    metadata: opaque(metadata),
    extraPayload: opaque(extraPayload),
  };
}
