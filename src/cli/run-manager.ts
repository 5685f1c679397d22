/** `by manager run` and `by provider mock`: a manager in the foreground, a line for everything it decides. */
import type {CircuitRules} from '../availability/circuits.js';
import {
  beatsOf,
  MANAGER_ROLES,
  MAX_AT_ONCE,
  startManager,
  type ManagerOptions,
  type ManagerRole,
} from '../availability/manager.js';
import {mockProvider, type MockMode} from '../availability/mock-provider.js';
import {ProcessPool} from '../availability/process-pool.js';
import {processProvider} from '../availability/process-provider.js';
import type {Provider} from '../availability/provider.js';
import {aborted} from '../clock.js';
import {loadProject} from '../config/project.js';
import {projectWorkers} from '../dev/project-workers.js';
import {ByError} from '../errors.js';
import {createLogger} from '../json-log.js';
import {loggerTo, type Logger} from '../log.js';
import {parseHealthAddress, startHealthServer, type HealthAddress} from '../observe/health-server.js';
import {ManagerWatch} from '../observe/manager-health.js';
import {refuseEviction} from '../store/durability.js';
import {checkServer, type Store} from '../store/store.js';
import type {PendingDelivery} from '../protocol/delivery.js';
import type {WakeupDecision, WakeupRequest} from '../protocol/wakeup.js';
import {modeAsker} from './ask-mock-mode.js';
import {connectionSettings} from './connect.js';
import type {ConnectionChoice} from './flags.js';
import {askingProvider, makeProvider, shellCommand} from './make-provider.js';
import {readMockMode} from './mock-script.js';
import {paint, type Printer} from './printer.js';
import {openRecord} from './record-wakeups.js';
import {tellHealth} from './tell-health.js';
import {openTracing} from './tracing.js';
import {clockTime} from './time.js';
import {wakeupLine} from './wakeup-line.js';

interface Foreground {
  readonly store: Store;
  readonly connection: ConnectionChoice;
  readonly printer: Printer;
  /** The first signal: finish what is under way. */
  readonly signal: AbortSignal;
  /** The second: finish nothing more. */
  readonly force: AbortSignal;
}

/** How it runs as a service. */
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
  /** When wakeups that fail in a row open a circuit; undefined: never. */
  readonly circuit: CircuitRules | undefined;
  /** Empty: all. */
  readonly roles: readonly ManagerRole[];
  /** `HOST:PORT`, or a port of this machine. */
  readonly health: string | undefined;
  readonly drainMs: number;
}

/** @throws {ByError} USAGE, INVALID_INPUT, CONFLICT for a health address that is taken, and what connecting throws. */
export async function runManager(run: RunManager): Promise<{wakeups: number}> {
  const {attempts, attemptTimeoutMs, pendingDeadlineMs, circuit, drainMs} = run;
  if (circuit?.openMs === 0 || circuit?.maxOpenMs === 0) {
    throw new ByError('USAGE', 'A circuit can not be open for nothing.', {
      hint: 'Write for example --circuit-open 30s.',
    });
  }
  const providerRun = {attempts, ...(attemptTimeoutMs === undefined ? {} : {attemptTimeoutMs})};
  const health = run.health === undefined ? undefined : parseHealthAddress(run.health);
  const roles = run.roles.length === 0 ? MANAGER_ROLES : run.roles;
  return inForeground(run, await providerFor(run), {
    options: {pendingDeadlineMs, providerRun, roles, ...(circuit === undefined ? {} : {circuit})},
    health,
    drainMs,
  });
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
  readonly health?: HealthAddress | undefined;
  /** Milliseconds for what is under way. Default 0. */
  readonly drainMs?: number;
}

async function inForeground(
  run: Foreground,
  provider: Provider,
  {options, once = false, leave, record, health, drainMs = 0}: InForeground,
): Promise<{wakeups: number}> {
  const {printer, store} = run;
  const signal = leave === undefined ? run.signal : AbortSignal.any([run.signal, leave]);
  const facts = await checkServer(store);
  refuseEviction(facts, store.address);
  const roles = options.roles ?? MANAGER_ROLES;
  const watch = new ManagerWatch({store, beats: beatsOf(roles), full: MAX_AT_ONCE});
  // Before the manager: an address that is taken must not show after something was begun.
  const server = health && (await startHealthServer(health, watch));
  const log = managerLog(printer);
  const config = (await loadProject(process.cwd()))?.config.tracing;
  const tracing = await openTracing({redisTraces: false, config}, log);
  try {
    let wakeups = 0;
    let onceDone: () => void = () => undefined;
    const first = new Promise<void>(resolve => (onceDone = resolve));
    const manager = await startManager(store, {
      ...options,
      provider,
      log,
      ...(tracing.options.tracer === undefined ? {} : {tracer: tracing.options.tracer}),
      onBeat: beat => watch.beat(beat),
      onWakeup: (request, decision, elapsedMs, told, deadLetterId) => {
        wakeups++;
        watch.wakeup(request, decision, elapsedMs, told);
        const event = tellWakeup(printer, request, decision, elapsedMs, deadLetterId);
        const {policy, timeoutMs, userCode, region} = request;
        record?.({at: new Date(), ...event, policy, timeoutMs, userCode, region});
        onceDone();
      },
      onDelivery: (delivery, outcome) => {
        watch.delivery(delivery.targetAgentType, outcome);
        tellDelivery(printer, delivery, outcome);
      },
    });
    watch.watch(manager);
    printer.note(
      paint.green(printer.symbol('dot')),
      ` ${manager.managerId} on ${store.address} (${facts.embedded ? 'embedded' : facts.version}), provider ${provider.name}`,
      roles.length < MANAGER_ROLES.length ? `, only ${roles.join(' and ')}` : '',
    );
    if (server !== undefined) tellHealth(printer, server);
    const toldToEnd = aborted(signal);
    await Promise.race(once ? [toldToEnd, first] : [toldToEnd]);
    watch.drain();
    if (manager.underWay > 0 && drainMs > 0)
      printer.note(paint.dim(`finishing ${manager.underWay} that are under way …`));
    run.force.addEventListener('abort', () => void manager.stop(), {once: true});
    await manager.stop({drainMs});
    return {wakeups};
  } finally {
    await tracing.stop();
    await server?.close();
  }
}

/** For a person what goes wrong, for a program JSON lines: both on standard error. */
function managerLog(printer: Printer): Logger {
  if (printer.mode !== 'text') return createLogger();
  return loggerTo(
    (_level, message, {manager_id: _id, ...fields}) =>
      printer.err(paint.yellow(`${message} ${JSON.stringify(fields)}`)),
    'warn',
  );
}

/** @returns what a program is told. */
function tellWakeup(
  printer: Printer,
  request: WakeupRequest,
  decision: WakeupDecision,
  elapsedMs: number,
  deadLetterId: string | undefined,
): object {
  const line = wakeupLine(printer, request, decision, elapsedMs, deadLetterId);
  printer.out(paint.dim(clockTime(Date.now())), ' ', ...line);
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
  return event;
}

function tellDelivery(
  printer: Printer,
  {targetAgentType: agentType, executionId}: PendingDelivery,
  outcome: string,
): void {
  printer.out(paint.dim(clockTime(Date.now())), ` pending  ${agentType} ${executionId} ${outcome}`);
  printer.event({type: 'pending', agentType, executionId, outcome});
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
