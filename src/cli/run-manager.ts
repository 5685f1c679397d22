/** `by manager run` and `by provider mock`: a manager in the foreground, a line for everything it decides. */
import {startManager, type ManagerOptions} from '../availability/manager.js';
import {mockProvider, type MockMode} from '../availability/mock-provider.js';
import {ProcessPool} from '../availability/process-pool.js';
import {processProvider} from '../availability/process-provider.js';
import type {Provider} from '../availability/provider.js';
import {loadProject} from '../config/project.js';
import {projectWorkers} from '../dev/project-workers.js';
import {ByError} from '../errors.js';
import {createLogger} from '../log.js';
import {refuseEviction} from '../store/durability.js';
import {checkServer, type Store} from '../store/store.js';
import {modeAsker} from './ask-mock-mode.js';
import {connectionSettings} from './connect.js';
import type {ConnectionChoice} from './flags.js';
import {askingProvider, makeProvider, shellCommand} from './make-provider.js';
import {readMockMode} from './mock-script.js';
import {paint, type Printer} from './printer.js';
import {openRecord} from './record-wakeups.js';
import {clockTime} from './time.js';
import {wakeupLine} from './wakeup-line.js';

interface Foreground {
  readonly store: Store;
  readonly connection: ConnectionChoice;
  readonly printer: Printer;
  readonly signal: AbortSignal;
}

export interface RunManager extends Foreground {
  /** `TYPE=CMD` pairs. */
  readonly start: readonly string[];
  /** Ask this service in place of starting anything here. */
  readonly wakeupUrl: string | undefined;
  readonly wakeupSecretFile: string | undefined;
  readonly allowLoopback: boolean;
  /** `SPEC` or `PATTERN=SPEC`; none: `start`, `wakeupUrl` or the project's workers. */
  readonly providers: readonly string[];
  /** How often the provider is asked for one wakeup. */
  readonly attempts: number;
  /** Milliseconds of one attempt; undefined: as long as the caller waits. */
  readonly attemptTimeoutMs: number | undefined;
  readonly pendingDeadlineMs: number;
}

export async function runManager(run: RunManager): Promise<{wakeups: number}> {
  const {attempts, attemptTimeoutMs, pendingDeadlineMs} = run;
  const providerRun = {attempts, ...(attemptTimeoutMs === undefined ? {} : {attemptTimeoutMs})};
  return inForeground(run, await providerFor(run), {options: {pendingDeadlineMs, providerRun}});
}

async function providerFor(run: RunManager): Promise<Provider> {
  const {providers, wakeupUrl, wakeupSecretFile, allowLoopback} = run;
  if (providers.length > 0) {
    const {url: redisUrl, keySchema} = await connectionSettings(run.connection);
    const pool = printingPool(run.printer);
    return makeProvider(providers, {pool, redisUrl, keySchema, wakeupSecretFile, allowLoopback});
  }
  if (wakeupUrl !== undefined) return askingProvider(wakeupUrl, {wakeupSecretFile, allowLoopback});
  return startingProvider(run);
}

/** A provider that runs commands on this machine. */
async function startingProvider(run: RunManager): Promise<Provider> {
  const commands = new Map(run.start.map(pair => splitPair(pair, '--start')));
  const {url, keySchema} = await connectionSettings(run.connection);
  const project = commands.size > 0 ? undefined : await loadProject(process.cwd());
  const workers = projectWorkers(project, [], process.cwd(), {redisUrl: url, keySchema, drainMs: 25_000});
  if (commands.size === 0 && workers.length === 0) {
    run.printer.warn(
      'No worker can be started: give --start TYPE=CMD, or run where a by.config lists workers. Wakeups will be rejected.',
    );
  }
  return processProvider({
    pool: printingPool(run.printer),
    commandFor: agentType => {
      const command = commands.get(agentType);
      if (command !== undefined) return shellCommand(agentType, command, url, keySchema);
      return workers.find(worker => worker.agentTypes.includes(agentType))?.command;
    },
  });
}

export interface RunMockProvider extends Foreground {
  readonly mode: string;
  /** `TYPE=MODE` pairs. */
  readonly perType: readonly string[];
  readonly delayMs: number;
  readonly jitterMs: number;
  readonly spawn: string | undefined;
  readonly seed: number | undefined;
  readonly once: boolean;
  /** A person decides each wakeup. */
  readonly ask: boolean;
  /** Gets a line for each wakeup. */
  readonly record: string | undefined;
  readonly dedupeTtlMs: number | undefined;
}

export async function runMockProvider(run: RunMockProvider): Promise<{wakeups: number}> {
  const perType = new Map<string, MockMode>();
  for (const pair of run.perType) {
    const [type, mode] = splitPair(pair, '--agent');
    perType.set(type, await readMockMode(mode));
  }
  const mode = await readMockMode(run.mode);
  const {url, keySchema} = await connectionSettings(run.connection);
  const {spawn, dedupeTtlMs} = run;
  const leave = new AbortController();
  const provider = mockProvider({
    mode: run.ask ? {kind: 'ask'} : mode,
    ask: modeAsker(run.mode.startsWith('script:') ? 'ready' : run.mode, () => leave.abort()),
    perType,
    delayMs: run.delayMs,
    jitterMs: run.jitterMs,
    ...(run.seed === undefined ? {} : {random: seeded(run.seed)}),
    ...(spawn === undefined
      ? {}
      : {
          start: processProvider({
            pool: printingPool(run.printer),
            commandFor: type => shellCommand(type, spawn, url, keySchema),
          }),
        }),
  });
  const record = run.record === undefined ? undefined : await openRecord(run.record);
  try {
    return await inForeground(run, provider, {
      // It fails on purpose: neither a second attempt nor a circuit may hide that.
      options: {providerRun: {circuit: false}, ...(dedupeTtlMs === undefined ? {} : {dedupeTtlMs})},
      once: run.once,
      leave: leave.signal,
      ...(record === undefined ? {} : {record: record.write}),
    });
  } finally {
    await record?.close();
  }
}

interface InForeground {
  readonly options: Omit<ManagerOptions, 'provider'>;
  readonly once?: boolean;
  /** Ends it like a signal. */
  readonly leave?: AbortSignal;
  readonly record?: (wakeup: object) => void;
}

async function inForeground(
  run: Foreground,
  provider: Provider,
  {options, once = false, leave, record}: InForeground,
): Promise<{wakeups: number}> {
  const {printer, store} = run;
  const signal = leave === undefined ? run.signal : AbortSignal.any([run.signal, leave]);
  const facts = await checkServer(store);
  refuseEviction(facts, store.address);
  let wakeups = 0;
  let onceDone: () => void = () => undefined;
  const first = new Promise<void>(resolve => (onceDone = resolve));
  const say = (...line: Parameters<Printer['out']>) =>
    printer.out(paint.dim(clockTime(Date.now())), ' ', ...line);
  const manager = await startManager(store, {
    ...options,
    provider,
    log: createLogger({
      level: 'warn',
      write: (_line, _level, message, {manager_id: _id, ...fields}) =>
        printer.err(paint.yellow(`${message} ${JSON.stringify(fields)}`)),
    }),
    onWakeup: (request, decision, elapsedMs, deadLetterId) => {
      wakeups++;
      say(...wakeupLine(printer, request, decision, elapsedMs, deadLetterId));
      const event = {
        type: 'wakeup',
        agentType: request.targetAgentType,
        executionId: request.executionId,
        decision: decision.status,
        reason: decision.reason,
        elapsedMs,
        ...(deadLetterId === undefined ? {} : {deadLetterId}),
      };
      printer.event(event);
      const {policy, timeoutMs, userCode, region} = request;
      record?.({at: new Date(), ...event, policy, timeoutMs, userCode, region});
      onceDone();
    },
    onDelivery: (delivery, outcome) => {
      say(`pending  ${delivery.targetAgentType} ${delivery.executionId} ${outcome}`);
      printer.event({
        type: 'pending',
        agentType: delivery.targetAgentType,
        executionId: delivery.executionId,
        outcome,
      });
    },
  });
  printer.note(
    paint.green(printer.symbol('dot')),
    ` ${manager.managerId} on ${store.address} (${facts.embedded ? 'embedded' : facts.version}), provider ${provider.name}`,
  );
  const told = new Promise<void>(resolve => {
    if (signal.aborted) resolve();
    signal.addEventListener('abort', () => resolve(), {once: true});
  });
  await Promise.race(once ? [told, first] : [told]);
  await manager.stop();
  return {wakeups};
}

function printingPool(printer: Printer): ProcessPool {
  return new ProcessPool({
    onLine: (name, line) => printer.out(paint.dim(name.padEnd(12)), ' ', line),
    onExit: (name, code, expected) => {
      if (!expected) printer.warn(`the process for ${name} ended with code ${code ?? 'none'}`);
    },
  });
}

function splitPair(pair: string, flag: string): [string, string] {
  const at = pair.indexOf('=');
  if (at > 0 && at < pair.length - 1) return [pair.slice(0, at), pair.slice(at + 1)];
  throw new ByError('USAGE', `"${pair}" is not TYPE=VALUE.`, {hint: `Write for example ${flag} ocr=…`});
}

/** A small generator with a known sequence (mulberry32), so that a run can be repeated. */
function seeded(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 4_294_967_296;
  };
}
